package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"math/big"
	"os"
	"path/filepath"

	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/internal/durable"
	"mutual/pki/pemfile"
)

// CRLs reads what is known of the newest list of each CA, the issuing CA's
// first.
func (p *PKI) CRLs(ctx context.Context) ([]Published, error) {
	settings, err := p.Settings(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := p.db.QueryContext(ctx, `SELECT ca.id, ca.role, ca.changed, l.number, l.this_update, l.next_update, l.entries, l.epoch, l.sha256, l.der
		FROM ca LEFT JOIN crl l ON l.issuer = ca.id AND l.number = (SELECT MAX(number) FROM crl WHERE issuer = ca.id)
		WHERE ca.retired IS NULL ORDER BY ca.role, ca.id`)
	if err != nil {
		return nil, wrap("reading the CRLs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []Published
	for rows.Next() {
		var role string
		var changed int64
		var number, thisUpdate, nextUpdate, entries, epoch sql.NullInt64
		l := Published{}
		if err := rows.Scan(&l.ca, &role, &changed, &number, &thisUpdate, &nextUpdate, &entries, &epoch, &l.sha256, &l.der); err != nil {
			return nil, wrap("reading the CRLs", err)
		}
		if sum := sha256.Sum256(l.der); l.der != nil && !bytes.Equal(sum[:], l.sha256) {
			return nil, errNeedsDigest
		}
		l.Issuer = pki.Kind(role)
		l.Files = []string{p.Path(crlPath(l.Issuer, "crl")), p.Path(crlPath(l.Issuer, "pem"))}
		if number.Valid {
			l.Number = big.NewInt(number.Int64)
			l.ThisUpdate, l.NextUpdate = fromUnix(thisUpdate.Int64), fromUnix(nextUpdate.Int64)
			l.Entries, l.epoch = int(entries.Int64), epoch.Int64
		}
		l.Overdue = !number.Valid || changed > epoch.Int64
		l.InPlace = p.inPlace(l, settings.Publish)
		out = append(out, l)
	}
	return out, wrap("reading the CRLs", rows.Err())
}

func crlPath(role pki.Kind, ext string) string { return crlDir + "/" + string(role) + "." + ext }

// ChainPath is the file with every CRL of the chain, relative to the PKI.
const ChainPath = crlDir + "/chain.pem"

// inPlace reports whether the newest list is in its files, and in the copy
// where there is one. The DER file is written last: where it is the newest
// list, so are the others.
func (p *PKI) inPlace(l Published, published string) bool {
	for _, dir := range []string{p.dir, published} {
		if dir == "" {
			continue
		}
		number, err := numberIn(filepath.Join(dir, filepath.FromSlash(crlPath(l.Issuer, "crl"))))
		if err != nil || l.Number == nil || number.Cmp(l.Number) != 0 {
			return false
		}
		for _, name := range []string{crlPath(l.Issuer, "pem"), ChainPath} {
			if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				return false
			}
		}
	}
	return true
}

// numberIn reads the CRL number of the list in a file.
func numberIn(path string) (*big.Int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return crl.PeekNumber(f)
}

// readIfSame reads a file if it has the SHA-256, and else gives nil: it will be
// made again.
func readIfSame(path string, sum []byte) []byte {
	data, err := os.ReadFile(path)
	if got := sha256.Sum256(data); err != nil || !bytes.Equal(got[:], sum) {
		return nil
	}
	return data
}

// writeLists puts the lists into the directory by rename: all of them in one
// file, the issuing CA's first because some programs read only one; then PEM
// and last DER of each. What is there is written although another is not.
func (p *PKI) writeLists(lists []Published) error {
	var chain bytes.Buffer
	var missing error
	for _, l := range lists {
		if l.der == nil {
			missing = fmt.Errorf("the CRL of the %s CA is not in its file and cannot be made: %w", l.Issuer, l.Skipped)
		}
		chain.Write(pemfile.EncodeCRL(l.der))
	}
	if missing == nil {
		if err := writeIfOther(p.Path(ChainPath), chain.Bytes()); err != nil {
			return err
		}
	}
	for _, l := range lists {
		if l.der == nil {
			continue
		}
		if err := writeIfOther(p.Path(crlPath(l.Issuer, "pem")), pemfile.EncodeCRL(l.der)); err != nil {
			return err
		}
		if err := writeIfOther(p.Path(crlPath(l.Issuer, "crl")), l.der); err != nil {
			return err
		}
	}
	return missing
}

// writeIfOther replaces a file that everybody may read, unless it holds the
// data already.
func writeIfOther(path string, data []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}
	return durable.WriteFile(path, data, 0o644)
}

// copyTo keeps a directory that servers read: certificates and lists, readable
// by everybody, each replaced by rename, the DER files last.
func (p *PKI) copyTo(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, crlDir)} {
		if err := makePublic(d); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	if err := p.writeCertificates(dir, 0o644); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	for _, name := range []string{
		ChainPath, crlPath(pki.KindIssuing, "pem"), crlPath(pki.KindRoot, "pem"),
		crlPath(pki.KindIssuing, "crl"), crlPath(pki.KindRoot, "crl"),
	} {
		data, err := os.ReadFile(p.Path(name))
		if err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
		if err := writeIfOther(filepath.Join(dir, filepath.FromSlash(name)), data); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	return nil
}

// checkPublishDir returns nil if a directory to publish into, or the nearest
// one above it that exists, takes files. Nothing that it does remains.
func checkPublishDir(dir string) error {
	if dir == "" {
		return nil
	}
	for {
		st, err := os.Stat(dir)
		switch {
		case err == nil && !st.IsDir():
			return fmt.Errorf("publishing: %s is no directory", dir)
		case err == nil:
			probe, err := durable.Stage(filepath.Join(dir, caFile), nil, 0o600)
			if err != nil {
				return fmt.Errorf("publishing: %w", err)
			}
			return probe.Discard()
		case filepath.Dir(dir) == dir:
			return fmt.Errorf("publishing: %w", err)
		}
		dir = filepath.Dir(dir)
	}
}

// makePublic creates a directory that everybody may read, whatever the umask
// is. One that is there keeps its mode.
func makePublic(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return durable.Mkdir(dir, 0o755)
}

// checkPublished refuses a database that knows less than the list beside it:
// its next list would let revoked certificates back in. The files are read
// first: a list is in the database before it is in a file.
func (p *PKI) checkPublished(ctx context.Context) error {
	onDisk := map[pki.Kind]*big.Int{}
	for _, role := range []pki.Kind{pki.KindIssuing, pki.KindRoot} {
		number, err := numberIn(p.Path(crlPath(role, "crl")))
		if err != nil {
			continue // it will be written again
		}
		onDisk[role] = number
	}
	lists, err := p.CRLs(ctx)
	if err != nil {
		return err
	}
	for _, l := range lists {
		number := onDisk[l.Issuer]
		if number != nil && (l.Number == nil || number.Cmp(l.Number) > 0) {
			return fmt.Errorf("%w: %s has number %s, and the newest in the database is %v", ErrRolledBack, l.Files[0], number, l.Number)
		}
	}
	return nil
}
