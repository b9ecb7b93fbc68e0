package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/pemfile"
)

// foundList is a list that lies in a directory.
type foundList struct {
	path   string
	number *big.Int
}

// checkPublished refuses a database that knows less than a list of its own that
// is out: its next list would let revoked certificates back in. Both the PKI's
// files and those that servers read are looked at: a PKI that was put back as a
// whole has old files of its own. They are read first: a list is in the
// database before it is in a file.
func (p *PKI) checkPublished(ctx context.Context) error {
	settings, err := p.Settings(ctx)
	if err != nil {
		return err
	}
	var found []foundList
	for _, dir := range p.listDirs(settings.Publish) {
		found = append(found, listsIn(dir)...)
	}
	lists, err := p.newestLists(ctx)
	if err != nil {
		return err
	}
	return p.refuseFound(ctx, found, lists)
}

// refuseNewer refuses to replace what is newer than the lists.
func (p *PKI) refuseNewer(ctx context.Context, dir string, lists []Published) error {
	return p.refuseFound(ctx, listsIn(dir), lists)
}

// refuseFound is ErrRolledBack where one of the lists that were found is newer
// than what the database knows of its CA. Elsewhere a list of another issuer
// says nothing of ours; in the PKI's own directory it is of a CA that the
// database has forgotten.
func (p *PKI) refuseFound(ctx context.Context, found []foundList, lists []Published) error {
	found = slices.DeleteFunc(found, func(f foundList) bool { return f.isAmong(lists) })
	if len(found) == 0 {
		return nil
	}
	newest, err := p.newestNumbers(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		known := newest[roleOfList(f.path)]
		if filepath.Dir(f.path) == p.Path(crlDir) && (known == nil || f.number.Cmp(known) > 0) {
			return rolledBack(f, known)
		}
		for _, l := range lists {
			newer := l.Number == nil || f.number.Cmp(l.Number) > 0
			if newer && bytes.Equal(issuerOf(f.path), l.subject) {
				return rolledBack(f, l.Number)
			}
		}
	}
	return nil
}

// isAmong reports whether a file has the number of the list that belongs into
// it. It saves reading the whole of it for its issuer.
func (f foundList) isAmong(lists []Published) bool {
	return slices.ContainsFunc(lists, func(l Published) bool {
		base := strings.TrimSuffix(filepath.Base(f.path), filepath.Ext(f.path))
		return l.base == base && l.Number != nil && l.Number.Cmp(f.number) == 0
	})
}

func rolledBack(f foundList, known *big.Int) error {
	return fmt.Errorf("%w: %s has number %s, and the newest in the database is %v", ErrRolledBack, f.path, f.number, known)
}

// listName matches the files of lists, of CAs in use or not.
var listName = regexp.MustCompile(`^(root|issuing)(-[0-9a-f]{8})?\.crl$`)

// roleOfList is the role of the CA whose list has the name.
func roleOfList(path string) pki.Kind {
	base, _, _ := strings.Cut(filepath.Base(path), ".")
	role, _, _ := strings.Cut(base, "-")
	return pki.Kind(role)
}

// newestNumbers gives the highest CRL number of each role, over all CAs that
// have had it: a file may still hold the list of the CA that had its name
// before. Numbers grow with the time, so that no CA hides another's.
func (p *PKI) newestNumbers(ctx context.Context) (map[pki.Kind]*big.Int, error) {
	rows, err := p.db.QueryContext(ctx, `SELECT role, MAX(number) FROM
		(SELECT ca.role, (SELECT MAX(number) FROM crl WHERE issuer = ca.id) AS number FROM ca) newest
		WHERE number IS NOT NULL GROUP BY role`)
	if err != nil {
		return nil, wrap("reading the CRLs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	out := map[pki.Kind]*big.Int{}
	for rows.Next() {
		var role string
		var number int64
		if err := rows.Scan(&role, &number); err != nil {
			return nil, wrap("reading the CRLs", err)
		}
		out[pki.Kind(role)] = big.NewInt(number)
	}
	return out, wrap("reading the CRLs", rows.Err())
}

// listsIn looks which lists a directory holds. What cannot be read is none: it
// will be written again.
func listsIn(dir string) []foundList {
	entries, err := os.ReadDir(fileIn(dir, crlDir))
	if err != nil {
		return nil
	}
	var out []foundList
	for _, e := range entries {
		base, isPEM := strings.CutSuffix(e.Name(), ".pem")
		if !listName.MatchString(e.Name()) && !(isPEM && listName.MatchString(base+".crl")) {
			continue
		}
		path := fileIn(dir, crlDir+"/"+e.Name())
		read := numberIn
		if isPEM { // it tells where it has outlived the DER file
			if _, err := os.Lstat(fileIn(dir, crlPath(base, "crl"))); err == nil {
				continue
			}
			read = numberInPEM
		}
		if number, err := read(path); err == nil {
			out = append(out, foundList{path, number})
		}
	}
	return out
}

// numberIn reads the CRL number of the list in a DER file, and no more of it.
func numberIn(path string) (*big.Int, error) { return peekFile(path, crl.PeekNumber) }

func numberInPEM(path string) (*big.Int, error) { return peekPEM(path, crl.PeekNumber) }

func peekFile[T any](path string, peek func(io.ReaderAt) (T, error)) (value T, err error) {
	f, err := openRegular(path)
	if err != nil {
		return value, err
	}
	defer func() { _ = f.Close() }() // only read
	return peek(f)
}

func peekPEM[T any](path string, peek func(io.ReaderAt) (T, error)) (value T, err error) {
	data, err := readRegular(path, maxCRLFile)
	if err != nil {
		return value, err
	}
	lists, err := pemfile.CRLs(data)
	if err != nil {
		return value, err
	}
	return peek(bytes.NewReader(lists[0]))
}

// issuerOf gives the issuer of the first list in a file, DER or PEM, or nil
// where there is none. Of DER it reads no more than that.
func issuerOf(path string) []byte {
	issuer, err := peekFile(path, crl.PeekIssuer)
	if filepath.Ext(path) == ".pem" {
		issuer, err = peekPEM(path, crl.PeekIssuer)
	}
	if err != nil {
		return nil
	}
	return issuer
}
