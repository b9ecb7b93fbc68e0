package commands

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"

	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// sameFile reports whether two paths lead to one file that is there.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// readLeafKey reads the private key of a client or server.
func (r *run) readLeafKey(file string) (crypto.Signer, error) {
	data, err := r.readInput(file)
	if err != nil {
		return nil, err
	}
	key, err := pemfile.Key(data, nil)
	if errors.Is(err, pemfile.ErrEncrypted) {
		return nil, failf("decrypt it first: openssl pkey -in FILE -out DECRYPTED", "the key %s is encrypted, and only one that is not can be exported", file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key %s: %w", file, err)
	}
	return key, nil
}

// exportable finds what a person named, with the key in the file if one is
// named.
func (r *run) exportable(ctx context.Context, p *store.PKI, what, keyFile string) (store.Certificate, bundle.Identity, error) {
	var id bundle.Identity
	var err error
	if keyFile != "" {
		if id.Key, err = r.readLeafKey(keyFile); err != nil {
			return store.Certificate{}, id, err
		}
	}
	cert, err := r.chooseCertificate(ctx, p, what, id.Key)
	if err != nil {
		return cert, id, err
	}
	id.Name = cert.Name.String()
	id.Chain, err = chainOf(ctx, p, cert)
	return cert, id, err
}

// chooseCertificate chooses the certificate that what names: the one that was issued
// last of those that are valid and belong to the key, if there is one.
func (r *run) chooseCertificate(ctx context.Context, p *store.PKI, what string, key crypto.Signer) (store.Certificate, error) {
	known, err := r.resolve(ctx, p, what)
	if err != nil {
		return store.Certificate{}, err
	}
	valid, matching := 0, []store.Certificate{}
	for _, c := range known.Certificates {
		if c.Kind.IsCA() {
			return c, failf("what servers trust is in the PKI: ca.crt", "the certificate %s is a CA's, and those are not exported", c.Serial)
		}
		if c.State(r.now()) != store.Valid {
			continue
		}
		valid++
		cert, err := storedCertificate(ctx, p, c)
		if err != nil {
			return c, err
		}
		if key == nil || keys.Equal(key.Public(), cert.PublicKey) {
			matching = append(matching, c)
		}
	}
	newest, ok := r.newest(matching)
	switch {
	case ok:
		return newest, nil
	case valid == 0:
		return newest, failf("what there is, and why not, is shown by: mutual list --all", "%q has no valid certificate", what)
	}
	return newest, failf("name the file of its own key with --key", "the key does not belong to a valid certificate of %q", what)
}
