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
		l.dirs = p.listDirs(settings.Publish)
		l.Incomplete = l.incompleteDirs(p.dir)
		l.InPlace = len(l.Incomplete) == 0
		l.AtHand = l.InPlace || l.bytes() != nil
		out = append(out, l)
	}
	return out, wrap("reading the CRLs", rows.Err())
}

func crlPath(role pki.Kind, ext string) string { return crlDir + "/" + string(role) + "." + ext }

// ChainPath is the file with every CRL of the chain, relative to the PKI.
const ChainPath = crlDir + "/chain.pem"

// listDirs are the directories that hold the lists: the PKI's, and the one that
// servers read, where there is one.
func (p *PKI) listDirs(published string) []string {
	if published == "" {
		return []string{p.dir}
	}
	return []string{p.dir, published}
}

// incompleteDirs gives the directories that do not hold the newest list, or,
// where servers read, not all that belongs there.
func (l *Published) incompleteDirs(own string) []string {
	var out []string
	for _, dir := range l.dirs {
		names := []string{crlPath(l.Issuer, "pem"), ChainPath}
		if dir != own {
			names = append(names, certificateNames()...)
		}
		if !l.isIn(dir, names) {
			out = append(out, dir)
		}
	}
	return out
}

// isIn reports whether a directory holds the list, and the files beside it. The
// DER file is written last: where it is the newest list, so are the others.
func (l *Published) isIn(dir string, beside []string) bool {
	number, err := numberIn(fileIn(dir, crlPath(l.Issuer, "crl")))
	if err != nil || l.Number == nil || number.Cmp(l.Number) != 0 {
		return false
	}
	for _, name := range beside {
		if _, err := os.Stat(fileIn(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// bytes gives the list as it was signed, or nil where nothing holds it any
// more.
func (l *Published) bytes() []byte {
	if l.der != nil {
		return l.der
	}
	for _, dir := range l.dirs {
		if der := readIfSame(fileIn(dir, crlPath(l.Issuer, "crl")), l.sha256); der != nil {
			return der
		}
	}
	return nil
}

// fileIn is the path of a file of ours, which is written with slashes, in a
// directory.
func fileIn(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

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
func (p *PKI) writeLists(ctx context.Context, lists []Published) error {
	if err := p.refuseNewer(ctx, p.dir, lists); err != nil {
		return err
	}
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
