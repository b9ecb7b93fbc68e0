package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mutual/pki"
	"mutual/pki/store"
)

// isFile reports whether WHAT means a file: "-", file: in front, a value with
// a path separator, or the name of a certificate file that exists.
func isFile(what string) bool {
	switch {
	case what == "-", strings.HasPrefix(what, "file:"):
		return true
	case hasChoice(what):
		return false
	case strings.ContainsFunc(what, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) }) && !strings.Contains(what, "://"):
		return true
	case slices.Contains([]string{".crt", ".pem", ".cer", ".der"}, strings.ToLower(filepath.Ext(what))):
		_, err := os.Stat(what)
		return !errors.Is(err, fs.ErrNotExist)
	}
	return false
}

// hasChoice reports whether what begins with a word that says how to read it.
func hasChoice(what string) bool {
	prefix, _, ok := strings.Cut(what, ":")
	return ok && slices.Contains([]string{"name", "serial", "sha256", "sha1"}, prefix)
}

// resolve finds what a person named: an identity's name first, then a file,
// then a fingerprint or serial. A name that is also a file's and names another
// certificate is an error.
func (r *run) resolve(ctx context.Context, p *store.PKI, what string) (store.Reading, error) {
	known, err := p.Resolve(ctx, what)
	if !isFile(what) {
		if errors.Is(err, store.ErrNotFound) {
			err = withHint(err, r.nearName(ctx, p, what))
		}
		return known, err
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return known, err
	}
	file, fileErr := r.resolveFile(ctx, p, strings.TrimPrefix(what, "file:"))
	switch {
	case err != nil:
		return file, fileErr
	case fileErr == nil && !slices.ContainsFunc(known.Certificates, func(c store.Certificate) bool {
		return c.Fingerprint == file.Certificates[0].Fingerprint
	}):
		return known, &store.AmbiguousError{Text: what, Readings: []store.Reading{known, file}}
	}
	return known, nil
}

func (r *run) resolveFile(ctx context.Context, p *store.PKI, path string) (store.Reading, error) {
	certs, err := r.readCertificates(path)
	if err != nil {
		return store.Reading{}, err
	}
	known, err := p.Lookup(ctx, pki.FingerprintOf(certs[0].Raw))
	if err != nil {
		return store.Reading{}, fmt.Errorf("the certificate in %s: %w", path, err)
	}
	return store.Reading{As: "file", Certificates: []store.Certificate{known}}, nil
}

// nearName suggests the name that was most likely meant.
func (r *run) nearName(ctx context.Context, p *store.PKI, what string) string {
	const most = 10_000
	if names, err := p.Names(ctx, "", most); err == nil {
		if near := closest(what, names); near != "" {
			return fmt.Sprintf("did you mean %q?", near)
		}
	}
	return "list what there is with: mutual list --all"
}
