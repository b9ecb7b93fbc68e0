package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"

	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/pemfile"
)

// foundList is a list that lies in a directory.
type foundList struct {
	role   pki.Kind
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
	lists, err := p.CRLs(ctx)
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
// than what the database knows. A list of another issuer says nothing of ours.
func (p *PKI) refuseFound(ctx context.Context, found []foundList, lists []Published) error {
	for _, f := range found {
		for _, l := range lists {
			if f.role != l.Issuer || l.Number != nil && f.number.Cmp(l.Number) <= 0 {
				continue
			}
			cert, err := p.CACertificate(ctx, l.Issuer)
			if err != nil {
				return err
			}
			if bytes.Equal(issuerOf(f.path), cert.RawSubject) {
				return fmt.Errorf("%w: %s has number %s, and the newest in the database is %v", ErrRolledBack, f.path, f.number, l.Number)
			}
		}
	}
	return nil
}

// listsIn looks which lists a directory holds. What cannot be read is none: it
// will be written again.
func listsIn(dir string) []foundList {
	var out []foundList
	for _, role := range []pki.Kind{pki.KindIssuing, pki.KindRoot} {
		path := fileIn(dir, crlPath(role, "crl"))
		number, err := numberIn(path)
		if errors.Is(err, fs.ErrNotExist) { // the PEM file may have outlived it
			path = fileIn(dir, crlPath(role, "pem"))
			number, err = numberInPEM(path)
		}
		if err == nil {
			out = append(out, foundList{role, path, number})
		}
	}
	return out
}

// numberIn reads the CRL number of the list in a DER file, and no more of it.
func numberIn(path string) (*big.Int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return crl.PeekNumber(f)
}

func numberInPEM(path string) (*big.Int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lists, err := pemfile.CRLs(data)
	if err != nil {
		return nil, err
	}
	return crl.PeekNumber(bytes.NewReader(lists[0]))
}

// issuerOf gives the issuer of the first list in a file, DER or PEM, or nil
// where there is none.
func issuerOf(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	lists, err := pemfile.CRLs(data)
	if err != nil {
		return nil
	}
	list, err := crl.Parse(lists[0])
	if err != nil {
		return nil
	}
	return list.Issuer()
}
