package commands

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"mutual/pki"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// showFile shows everything that a file holds. The PKI, if there is one, says
// which certificates are its own.
func (r *run) showFile(ctx context.Context, p *store.PKI, what string, asPEM bool) error {
	path := strings.TrimPrefix(what, "file:")
	data, err := r.readInput(path)
	if err != nil {
		return err
	}
	items, err := pemfile.Parse(data)
	if err != nil {
		return fmt.Errorf("reading %s: %w", describeFile(path), err)
	}
	if asPEM {
		return r.writeCertificates(path, items)
	}
	v := &showView{What: what, As: "file", Items: []itemView{}}
	for _, item := range items {
		shown, err := r.newItemView(ctx, p, item)
		if err != nil {
			return fmt.Errorf("reading %s: %w", describeFile(path), inItem(item, err))
		}
		v.Items = append(v.Items, shown)
	}
	if len(v.Items) == 0 {
		return fmt.Errorf("reading %s: it holds neither certificate, request, CRL nor key", describeFile(path))
	}
	return r.emit(v)
}

func describeFile(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// sourceOf says, after what was read, where it came from.
func sourceOf(path string) string {
	if path == "-" {
		return "from standard input"
	}
	return path
}

// inItem puts the place of an item of PEM in front of an error.
func inItem(item pemfile.Item, err error) error {
	if item.Block == 0 {
		return err
	}
	return fmt.Errorf("block %d (line %d): %w", item.Block, item.Line, err)
}

// writeCertificates writes the certificates of a file as PEM.
func (r *run) writeCertificates(path string, items []pemfile.Item) error {
	var certs []*x509.Certificate
	for _, item := range items {
		if item.Type != pemfile.TypeCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(item.DER)
		if err != nil {
			return fmt.Errorf("reading %s: %w", describeFile(path), inItem(item, err))
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return fmt.Errorf("reading %s: it holds no certificate", describeFile(path))
	}
	_, err := r.out.Write(pemfile.EncodeCertificates(certs...))
	return err
}

func (r *run) newItemView(ctx context.Context, p *store.PKI, item pemfile.Item) (itemView, error) {
	v := itemView{Line: item.Line}
	var err error
	switch item.Type {
	case pemfile.TypeCertificate:
		v.Type = typeCertificate
		v.Certificate, v.Inventory, err = r.readCertificate(ctx, p, item.DER)
	case pemfile.TypeRequest:
		v.Type = typeRequest
		v.Request, err = newRequestView(item.DER)
	case pemfile.TypeCRL:
		v.Type = typeCRL
		v.CRL, err = r.newCRLContents(item.DER)
	case pemfile.TypePublicKey:
		v.Type = typePublicKey
		v.Key, err = newPublicKeyView(item.DER)
	case pemfile.TypeKey, pemfile.TypeEncryptedKey:
		v.Type = typePrivateKey
		v.Key, err = r.newPrivateKeyView(ctx, item)
	default:
		err = fmt.Errorf("a %s cannot be shown", item.Type)
	}
	return v, err
}

// readCertificate describes a certificate and, for one of ours, its state.
func (r *run) readCertificate(ctx context.Context, p *store.PKI, der []byte) (*x509View, *certificateView, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("reading a certificate: %w", err)
	}
	v := r.newX509View(cert)
	if p == nil {
		return v, nil, nil
	}
	known, err := p.Lookup(ctx, pki.FingerprintOf(der))
	if errors.Is(err, store.ErrNotFound) {
		return v, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	state := newCertificateView(known, r.now())
	return v, &state, nil
}
