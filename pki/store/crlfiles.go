package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/pemfile"
)

// CRLs reads what is known of the newest list of each CA in use: those of the
// issuing CAs and then those of the roots, of each role the newest CA's first.
// The files of lists are read only where one of them is not in place.
func (p *PKI) CRLs(ctx context.Context) ([]Published, error) {
	lists, err := p.newestLists(ctx)
	for i := range lists {
		lists[i].AtHand = lists[i].InPlace || lists[i].isKept()
	}
	return lists, err
}

// newestLists is CRLs, but for whether the lists are at hand.
func (p *PKI) newestLists(ctx context.Context) ([]Published, error) {
	t, end, err := p.readOnly(ctx) // one moment: CAs come and go meanwhile
	if err != nil {
		return nil, err
	}
	defer end()
	settings, err := readSettings(ctx, t.tx)
	if err != nil {
		return nil, err
	}
	cas, err := caRows(ctx, t.tx)
	if err != nil {
		return nil, err
	}
	rows, err := t.tx.QueryContext(ctx, `SELECT ca.id, ca.changed, l.number, l.this_update, l.next_update, l.entries, l.epoch, l.sha256, l.der
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
		out = append(out, l)
	}
	return out, wrap("reading the CRLs", rows.Err())
}

// NamedEntry is an entry of a list, and whose certificate it is about: zero
// where the inventory does not say.
type NamedEntry struct {
	crl.Entry
	Name pki.Name
}

// Named goes through the entries of a CA's list with the names that the
// inventory has for them.
func (p *PKI) Named(ctx context.Context, of Published, list *crl.List) iter.Seq2[NamedEntry, error] {
	const page = 500
	return func(yield func(NamedEntry, error) bool) {
		next, stop := iter.Pull(list.Entries())
		defer stop()
		for more := true; more; {
			var entries []NamedEntry
			for len(entries) < page && more {
				var e crl.Entry
				if e, more = next(); more {
					entries = append(entries, NamedEntry{Entry: e})
				}
			}
			err := p.nameEntries(ctx, of.ca, entries)
			for _, e := range entries {
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

func (p *PKI) nameEntries(ctx context.Context, issuer int64, entries []NamedEntry) error {
	if len(entries) == 0 {
		return nil
	}
	at := make(map[pki.Serial]int, len(entries))
	args := []any{issuer}
	var places strings.Builder
	for i, e := range entries {
		at[e.Serial] = i
		args = append(args, e.Serial.Octets())
		fmt.Fprintf(&places, ", $%d", i+2)
	}
	return p.each(ctx, p.db, "c.issuer = $1 AND c.serial IN ("+places.String()[2:]+")", args, func(c Certificate) error {
		entries[at[c.Serial]].Name = c.Name
		return nil
	})
}

// of says whose list it is and where it lies.
func (l *Published) of(p *PKI, ca caRow) {
	l.Issuer, l.Key, l.Older, l.Ends = ca.role, shortID(ca.keyID), !ca.newest, ca.cert.NotAfter
	l.KeyID = hex.EncodeToString(ca.keyID)
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
// more.
func (l *Published) bytes() []byte {
	if l.der != nil {
		return l.der
	}
	for _, path := range l.places() {
		data, err := readRegular(path, maxCRLFile)
		if sum := sha256.Sum256(data); err == nil && bytes.Equal(sum[:], l.sha256) {
			return data
		}
	}
	return nil
}

// isKept reports whether bytes gives the list, without holding it.
func (l *Published) isKept() bool {
	return l.der != nil || slices.ContainsFunc(l.places(), func(path string) bool {
		f, err := openRegular(path)
		if err != nil {
			return false
		}
		defer func() { _ = f.Close() }() // only read
		h := sha256.New()
		_, err = io.Copy(h, f)
		return err == nil && bytes.Equal(h.Sum(nil), l.sha256)
	})
}

// places gives the files that have the number of the list. Where its CA has just
// ceased to be the newest, its file still has the name that it had as such.
func (l *Published) places() []string {
	var out []string
	for _, dir := range l.dirs {
		for _, base := range []string{l.base, string(l.Issuer)} {
			path := fileIn(dir, crlPath(base, "crl"))
			number, err := numberIn(path)
			if err == nil && l.Number != nil && number.Cmp(l.Number) == 0 && !slices.Contains(out, path) {
				out = append(out, path)
			}
		}
	}
	return out
}

// fileIn is the path of a file of ours, which is written with slashes, in a
// directory.
func fileIn(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

// checkRegular refuses what others may have put where a file is expected, such
// as a pipe, which would be waited for.
func checkRegular(path string) error {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%q is no regular file", path)
	}
	return err
}

func openRegular(path string) (*os.File, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

func readRegular(path string, limit int64) ([]byte, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	return pemfile.ReadFile(path, limit)
}

// writeLists puts the lists into the directory by rename: all of them in one
// file, the newest issuing CA's first because some programs read only one;
// then PEM and last DER of each, those of older CAs before the newest takes
// the name that they had. What is there is written although another is not.
func (p *PKI) writeLists(ctx context.Context, lists []Published) error {
	if err := p.refuseNewer(ctx, p.dir, lists); err != nil {
		return err
	}
	var chain [][]byte
	var missing error
	pems := make([][]byte, len(lists))
	for i, l := range lists {
		if l.der == nil && l.Older && errors.Is(l.Skipped, authority.ErrIssuerExpired) {
			continue
		}
		if l.der == nil {
			missing = fmt.Errorf("the CRL of the %s is not in its file and cannot be made: %w", l.CA(), l.Skipped)
		}
		if l.der != nil {
			pems[i] = pemfile.EncodeCRL(l.der)
		}
		chain = append(chain, pems[i])
	}
	var files []file
	if missing == nil {
		files = append(files, file{p.Path(ChainPath), octets(chain...)})
	}
	for i, l := range slices.Backward(lists) {
		if l.der != nil {
			files = append(files, file{l.Files[1], octets(pems[i])}, file{l.Files[0], octets(l.der)})
		}
	}
	if err := replaceFiles(files); err != nil {
		return err
	}
	return missing
}
