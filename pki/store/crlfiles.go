package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"

	"mutual/pki/authority"
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
		l.dirs = p.listDirs(settings.Publish)
		l.Incomplete = l.incompleteDirs(p.dir)
		l.InPlace = len(l.Incomplete) == 0
		l.AtHand = l.InPlace || l.bytes() != nil
		out = append(out, l)
	}
	return out, wrap("reading the CRLs", rows.Err())
}

// of says whose list it is and where it lies.
func (l *Published) of(p *PKI, ca caRow) {
	l.Issuer, l.Key, l.Older, l.Ends = ca.role, shortID(ca.keyID), !ca.newest, ca.cert.NotAfter
	l.base, l.alone, l.subject = ca.base(), ca.alone, ca.cert.RawSubject
	l.Files = []string{p.Path(crlPath(l.base, "crl")), p.Path(crlPath(l.base, "pem"))}
}

func crlPath(base, ext string) string { return crlDir + "/" + base + "." + ext }

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
		names := []string{crlPath(l.base, "pem"), ChainPath}
		if dir != own {
			names = append(names, caFile, l.base+".crt")
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
	number, err := numberIn(fileIn(dir, crlPath(l.base, "crl")))
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
// more. Where its CA has just ceased to be the newest, its file still has the
// name that it had as such.
func (l *Published) bytes() []byte {
	if l.der != nil {
		return l.der
	}
	for _, dir := range l.dirs {
		for _, base := range []string{l.base, string(l.Issuer)} {
			if der := readIfSame(fileIn(dir, crlPath(base, "crl")), l.sha256); der != nil {
				return der
			}
		}
	}
	return nil
}

// fileIn is the path of a file of ours, which is written with slashes, in a
// directory.
func fileIn(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

// readRegular reads a file where others may have put something else, such as a
// pipe, which would be waited for.
func readRegular(path string, limit int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is no regular file", path)
	}
	return pemfile.ReadFile(path, limit)
}

// readIfSame reads a file if it has the SHA-256, and else gives nil: it will be
// made again.
func readIfSame(path string, sum []byte) []byte {
	data, err := readRegular(path, maxCRLFile)
	if got := sha256.Sum256(data); err != nil || !bytes.Equal(got[:], sum) {
		return nil
	}
	return data
}

// writeLists puts the lists into the directory by rename: all of them in one
// file, the newest issuing CA's first because some programs read only one;
// then PEM and last DER of each, those of older CAs before the newest takes
// the name that they had. What is there is written although another is not.
func (p *PKI) writeLists(ctx context.Context, lists []Published) error {
	if err := p.refuseNewer(ctx, p.dir, lists); err != nil {
		return err
	}
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
	if have, err := readRegular(path, int64(len(data))); err == nil && bytes.Equal(have, data) {
		return nil
	}
	return durable.WriteFile(path, data, 0o644)
}
