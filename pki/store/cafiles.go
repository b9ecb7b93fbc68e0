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

	"mutual/pki"
	"mutual/pki/pemfile"
)

// certificateFiles gives what a server trusts, by the names of the files:
// ca.crt with all CAs in use, root.crt and issuing.crt with those of the role,
// the newest first, and for programs that read one certificate of a file a
// file for each older CA.
func certificateFiles(cas []caRow) map[string][]byte {
	byRole := map[pki.Kind][]*x509.Certificate{}
	out := map[string][]byte{}
	for _, r := range cas {
		byRole[r.role] = append(byRole[r.role], r.cert)
		if !r.newest {
			out[r.base()+".crt"] = pemfile.EncodeCertificates(r.cert)
		}
	}
	root, issuing := byRole[pki.KindRoot], byRole[pki.KindIssuing]
	out[certificateFile(pki.KindRoot)] = pemfile.EncodeCertificates(root...)
	out[certificateFile(pki.KindIssuing)] = pemfile.EncodeCertificates(issuing...)
	out[caFile] = pemfile.EncodeCertificates(slices.Concat(issuing, root)...)
	return out
}

// writeCertificates brings the certificate files of a directory up to date,
// and removes what lies there of CAs that are retired.
func (p *PKI) writeCertificates(ctx context.Context, dir string) error {
	cas, err := caRows(ctx, p.db)
	if err != nil {
		return err
	}
	for name, data := range certificateFiles(cas) {
		if err := writeIfOther(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	stale, err := p.retiredFiles(ctx)
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what is retired: %w", err)
		}
	}
	return nil
}

// retiredFiles names the files of retired CAs. Their keys are not among them:
// nothing here removes a key.
func (p *PKI) retiredFiles(ctx context.Context) ([]string, error) {
	rows, err := p.db.QueryContext(ctx, `SELECT role, key_id FROM ca WHERE retired IS NOT NULL`)
	if err != nil {
		return nil, wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []string
	for rows.Next() {
		var role string
		var keyID []byte
		if err := rows.Scan(&role, &keyID); err != nil {
			return nil, wrap("reading the CAs", err)
		}
		base := byKey(pki.Kind(role), keyID)
		out = append(out, base+".crt", crlPath(base, "pem"), crlPath(base, "crl"))
	}
	return out, wrap("reading the CAs", rows.Err())
}

// certificatesInPlace reports whether keys and certificates have their names
// and contents: an act on a CA that was killed after its commit leaves that to
// the next act.
func (p *PKI) certificatesInPlace(ctx context.Context) (bool, error) {
	cas, err := caRows(ctx, p.db)
	if err != nil {
		return false, err
	}
	for _, r := range cas {
		if _, err := os.Lstat(p.Path(byKey(r.role, r.keyID) + ".key")); r.newest && err == nil {
			return false, nil
		}
	}
	settings, err := p.Settings(ctx)
	if err != nil {
		return false, err
	}
	for name, want := range certificateFiles(cas) {
		for _, dir := range []string{p.dir, settings.Publish} {
			if dir == "" {
				continue
			}
			if have, err := readRegular(filepath.Join(dir, name), int64(len(want))); err != nil || !bytes.Equal(have, want) {
				return false, nil
			}
		}
	}
	return true, nil
}
