package store

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/internal/durable"
	"mutual/pki/pemfile"
)

// PublishError says that a directory cannot be published into.
type PublishError struct {
	Dir string // as it was chosen
	Err error
}

func (e *PublishError) Error() string { return "publishing in " + e.Dir + ": " + e.Err.Error() }

func (e *PublishError) Unwrap() error { return e.Err }

// publishedFiles lists what a directory that servers read holds, by how the
// names of the CAs' files begin: relative to it and with slashes.
func publishedFiles(bases []string) []string {
	out := []string{caFile}
	for _, base := range bases {
		out = append(out, base+".crt")
	}
	out = append(out, ChainPath)
	for _, ext := range []string{"pem", "crl"} {
		for _, base := range bases {
			out = append(out, crlPath(base, ext))
		}
	}
	return out
}

// PublishedFiles lists what a directory that servers read holds, relative to it
// and with slashes.
func (p *PKI) PublishedFiles(ctx context.Context) ([]string, error) {
	cas, err := caRows(ctx, p.db)
	if err != nil {
		return nil, err
	}
	var bases []string
	for _, ca := range cas {
		bases = append(bases, ca.base())
	}
	return publishedFiles(bases), nil
}

// copyTo keeps a directory that servers read: certificates and lists, readable
// by everybody, each replaced by rename. The lists come before the CAs that need
// them, and the DER files last. A newer list of the same CA is never replaced.
// Its error is a *PublishError.
func (p *PKI) copyTo(ctx context.Context, dir string, lists []Published) error {
	if err := p.copyFiles(ctx, dir, lists); err != nil {
		return &PublishError{dir, err}
	}
	return nil
}

func (p *PKI) copyFiles(ctx context.Context, dir string, lists []Published) error {
	if err := p.refuseNewer(ctx, dir, lists); err != nil {
		return err
	}
	if err := makePublic(filepath.Join(dir, crlDir)); err != nil {
		return err
	}
	first, last := []string{ChainPath}, []string{}
	for _, l := range slices.Backward(lists) { // an older CA's before the newest takes its name
		if l.der == nil && l.over(p.now()) { // gone, and nobody needs it: see writeLists
			continue
		}
		first, last = append(first, crlPath(l.base, "pem")), append(last, crlPath(l.base, "crl"))
	}
	if err := p.copyLists(dir, first); err != nil {
		return err
	}
	if err := p.writeCertificates(ctx, dir); err != nil {
		return err
	}
	return p.copyLists(dir, last)
}

func (p *PKI) copyLists(dir string, names []string) error {
	files := make([]file, len(names))
	for i, name := range names {
		files[i] = file{fileIn(dir, name), copyOf(p.Path(name))}
	}
	return replaceFiles(files)
}

// makePublic creates a directory that everybody may read, and what is missing
// above it, whatever the umask is. One that is there keeps its mode.
func makePublic(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case err == nil && st.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is no directory", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := makePublic(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := durable.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// checkPublishDir looks, before anything relies on a directory, whether it can
// be published into: it lies apart from the PKI, holds nothing that is not of
// these CAs, and takes files. Nothing that it does remains. Its error is a
// *PublishError.
func checkPublishDir(dir, pkiDir string, cas []*x509.Certificate) error {
	if dir == "" {
		return nil
	}
	for _, check := range []func() error{
		func() error { return checkApart(dir, pkiDir) },
		func() error { return checkOurs(dir, cas) },
		func() error { return checkWritable(dir) },
	} {
		if err := check(); err != nil {
			return &PublishError{dir, err}
		}
	}
	return nil
}

// checkApart refuses a directory in the PKI, whose mode keeps servers out, and
// one around it, which would hold its keys.
func checkApart(dir, pkiDir string) error {
	published, private := realPath(dir), realPath(pkiDir)
	switch {
	case published == private:
		return fmt.Errorf("%w: it is the PKI's own directory", ErrBadPlace)
	case isBelow(published, private):
		return fmt.Errorf("%w: it lies in the PKI's own directory %s", ErrBadPlace, pkiDir)
	case isBelow(private, published):
		return fmt.Errorf("%w: the PKI %s lies in it", ErrBadPlace, pkiDir)
	}
	return nil
}

// realPath follows the links of what exists of a path.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(realPath(parent), filepath.Base(path))
}

// isBelow reports whether path lies somewhere in dir.
func isBelow(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// checkOurs refuses a directory with a file of a name that is published and
// that is not of these CAs: somebody else's trust would be replaced by ours.
func checkOurs(dir string, cas []*x509.Certificate) error {
	for _, name := range publishedFiles([]string{string(pki.KindRoot), string(pki.KindIssuing)}) {
		path := fileIn(dir, name)
		data, err := readRegular(path, maxCRLFile)
		if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
			continue
		}
		if err != nil {
			return err
		}
		if !isCertificateOf(data, cas) && !isListOf(data, cas) {
			return fmt.Errorf("%w: %s", ErrForeign, path)
		}
	}
	return nil
}

// isCertificateOf reports whether all certificates in a file are those of the
// CAs or issued by one of them.
func isCertificateOf(data []byte, cas []*x509.Certificate) bool {
	certs, err := pemfile.Certificates(data)
	if err != nil {
		return false
	}
	for _, c := range certs {
		ours := false
		for _, ca := range cas {
			ours = ours || c.Equal(ca) || c.CheckSignatureFrom(ca) == nil
		}
		if !ours {
			return false
		}
	}
	return true
}

// isListOf reports whether all lists in a file are of the CAs.
func isListOf(data []byte, cas []*x509.Certificate) bool {
	lists, err := pemfile.CRLs(data)
	if err != nil {
		return false
	}
	for _, der := range lists {
		list, err := crl.Parse(der)
		if err != nil {
			return false
		}
		ours := false
		for _, ca := range cas {
			ours = ours || bytes.Equal(list.Issuer(), ca.RawSubject)
		}
		if !ours {
			return false
		}
	}
	return true
}

// checkWritable looks whether a directory, or the nearest one above it that
// exists, takes files.
func checkWritable(dir string) error {
	for {
		st, err := os.Stat(dir)
		switch {
		case err == nil && !st.IsDir():
			return fmt.Errorf("%s is no directory", dir)
		case err == nil:
			probe, err := durable.Stage(filepath.Join(dir, caFile), nil, 0o600)
			if err != nil {
				return fmt.Errorf("creating a file in %s: %w", dir, errors.Unwrap(err))
			}
			return probe.Discard()
		case filepath.Dir(dir) == dir:
			return err
		}
		dir = filepath.Dir(dir)
	}
}

// Unreachable gives the nearest directory, among dir and those above it, that
// others may not enter, so that servers of another user cannot read what is in
// dir. "" says that there is none, or, on Windows, that modes say nothing.
func Unreachable(dir string) string {
	for dir = realPath(dir); ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && keepsOthersOut(st) {
			return dir
		}
		if filepath.Dir(dir) == dir {
			return ""
		}
	}
}
