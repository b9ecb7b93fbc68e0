package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/internal/durable"
	"mutual/pki/pemfile"
)

// CRLs reads what is known of the newest list of each CA in use: those of the
// issuing CAs and then those of the roots, of each role the newest CA's first.
func (p *PKI) CRLs(ctx context.Context) ([]Published, error) {
	settings, err := p.Settings(ctx)
	if err != nil {
		return nil, err
	}
	cas, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	rows, err := p.db.QueryContext(ctx, `SELECT ca.id, ca.changed, l.number, l.this_update, l.next_update, l.entries, l.epoch, l.sha256, l.der
		FROM ca LEFT JOIN crl l ON l.issuer = ca.id AND l.number = (SELECT MAX(number) FROM crl WHERE issuer = ca.id)
		WHERE ca.retired IS NULL ORDER BY ca.role, ca.id DESC`)
	if err != nil {
		return nil, wrap("reading the CRLs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []Published
	for rows.Next() {
		var changed int64
		var number, thisUpdate, nextUpdate, entries, epoch sql.NullInt64
		l := Published{}
		if err := rows.Scan(&l.ca, &changed, &number, &thisUpdate, &nextUpdate, &entries, &epoch, &l.sha256, &l.der); err != nil {
			return nil, wrap("reading the CRLs", err)
		}
		if sum := sha256.Sum256(l.der); l.der != nil && !bytes.Equal(sum[:], l.sha256) {
			return nil, errNeedsDigest
		}
		i := slices.IndexFunc(cas, func(r caRow) bool { return r.id == l.ca })
		if i < 0 {
			return nil, fmt.Errorf("%w: a CA has no certificate", ErrDamaged)
		}
		l.of(p, cas[i])
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

// of says whose list it is and where it lies.
func (l *Published) of(p *PKI, ca caRow) {
	l.Issuer, l.Key, l.Older, l.Ends = ca.role, shortID(ca.keyID), !ca.newest, ca.cert.NotAfter
	l.base, l.alone = ca.base(), ca.alone
	l.Files = []string{p.Path(crlPath(l.base, "crl")), p.Path(crlPath(l.base, "pem"))}
}

func crlPath(base, ext string) string { return crlDir + "/" + base + "." + ext }

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
		number, err := numberIn(filepath.Join(dir, filepath.FromSlash(crlPath(l.base, "crl"))))
		if err != nil || l.Number == nil || number.Cmp(l.Number) != 0 {
			return false
		}
		for _, name := range []string{crlPath(l.base, "pem"), ChainPath} {
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

// readList reads a list that only files hold: from its own, or where its CA
// has just ceased to be the newest from the one that it had as such.
func (p *PKI) readList(l *Published) []byte {
	for _, path := range []string{l.Files[0], p.Path(crlPath(string(l.Issuer), "crl"))} {
		if der := readIfSame(path, l.sha256); der != nil {
			return der
		}
	}
	return nil
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
// file, the newest issuing CA's first because some programs read only one;
// then PEM and last DER of each, those of older CAs before the newest takes
// the name that they had. What is there is written although another is not.
func (p *PKI) writeLists(lists []Published) error {
	var chain bytes.Buffer
	var missing error
	for _, l := range lists {
		if l.der == nil && l.Older && errors.Is(l.Skipped, authority.ErrIssuerExpired) {
			continue
		}
		if l.der == nil {
			missing = fmt.Errorf("the CRL of the %s is not in its file and cannot be made: %w", l.CA(), l.Skipped)
		}
		chain.Write(pemfile.EncodeCRL(l.der))
	}
	if missing == nil {
		if err := writeIfOther(p.Path(ChainPath), chain.Bytes()); err != nil {
			return err
		}
	}
	for _, l := range slices.Backward(lists) {
		if l.der == nil {
			continue
		}
		if err := writeIfOther(l.Files[1], pemfile.EncodeCRL(l.der)); err != nil {
			return err
		}
		if err := writeIfOther(l.Files[0], l.der); err != nil {
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

// copyTo keeps a directory that servers read: lists and certificates, readable
// by everybody, each replaced by rename. The lists come before the CAs that
// need them, and the DER files last.
func (p *PKI) copyTo(ctx context.Context, dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, crlDir)} {
		if err := makePublic(d); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	cas, err := caRows(ctx, p.db)
	if err != nil {
		return err
	}
	lists := []string{ChainPath}
	for _, ext := range []string{"pem", "crl"} {
		for _, ca := range slices.Backward(cas) {
			lists = append(lists, crlPath(ca.base(), ext))
		}
	}
	for i, name := range lists {
		if i == 1+len(cas) {
			if err := p.writeCertificates(ctx, dir); err != nil {
				return fmt.Errorf("publishing: %w", err)
			}
		}
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

// checkPublished refuses a database that knows less than a list beside it: its
// next list would let revoked certificates back in. The files are read first:
// a list is in the database before it is in a file. Numbers are compared over
// all CAs of a role, for a file may still hold the list of the CA that had its
// name before; they grow with the time, so that no CA hides another's.
func (p *PKI) checkPublished(ctx context.Context) error {
	files, err := os.ReadDir(p.Path(crlDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the published CRLs: %w", err)
	}
	numbers := map[string]*big.Int{}
	for _, f := range files {
		if !listName.MatchString(f.Name()) {
			continue
		}
		path := p.Path(crlDir + "/" + f.Name())
		if number, err := numberIn(path); err == nil { // else it will be written again
			numbers[path] = number
		}
	}
	newest, err := p.newestNumbers(ctx)
	if err != nil {
		return err
	}
	for path, number := range numbers {
		if known := newest[string(roleOfList(path))]; known == nil || number.Cmp(known) > 0 {
			return fmt.Errorf("%w: %s has number %s, and the newest in the database is %v", ErrRolledBack, path, number, known)
		}
	}
	return nil
}

// listName matches the files of lists, of CAs in use or not.
var listName = regexp.MustCompile(`^(root|issuing)(-[0-9a-f]{8})?\.crl$`)

// roleOfList is the role of the CA whose list has the name.
func roleOfList(path string) pki.Kind {
	role, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".crl"), "-")
	return pki.Kind(role)
}

// newestNumbers gives the highest CRL number of each role.
func (p *PKI) newestNumbers(ctx context.Context) (map[string]*big.Int, error) {
	rows, err := p.db.QueryContext(ctx, `SELECT ca.role, MAX(crl.number) FROM crl JOIN ca ON ca.id = crl.issuer GROUP BY ca.role`)
	if err != nil {
		return nil, wrap("reading the CRLs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	out := map[string]*big.Int{}
	for rows.Next() {
		var role string
		var number int64
		if err := rows.Scan(&role, &number); err != nil {
			return nil, wrap("reading the CRLs", err)
		}
		out[role] = big.NewInt(number)
	}
	return out, wrap("reading the CRLs", rows.Err())
}
