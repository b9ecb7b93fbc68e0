package commands

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

func showCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "show",
		Category:  categoryLooking,
		Usage:     "show a certificate, or whatever a file holds",
		ArgsUsage: "WHAT",
		Long: "WHAT is a name, a serial, a fingerprint, or a file: certificate, chain, request, CRL or key, PEM or DER (- is standard input). " +
			"A name shows all certificates of the identity, and the newest valid one in full. " +
			"A file needs no PKI; where there is one, a certificate of it is shown with its state.\n\n" +
			"Private keys are never shown. A passphrase is only used to tell what kind of key an encrypted one is.",
		Example: "mutual show alice@example.com\nmutual show alice@example.com --pem >alice.crt\nmutual show server.csr --json",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "pem", Usage: "write the certificate and its issuing CA's as PEM; of a file, its certificates"},
		},
		Passphrase: true,
		MinArgs:    1,
		Complete:   completeWhat,
		Action:     runShow,
	})
}

func runShow(ctx context.Context, r *run, c *cli.Context) error {
	asPEM := c.Bool("pem")
	if asPEM && r.json {
		return usagef("--pem and --%s exclude each other", flagJSON)
	}
	what := c.Args().First()
	return r.readingIfAny(ctx, func(p *store.PKI, none error) error {
		known, err := r.lookUp(ctx, p, what)
		if p == nil && !isFile(what) {
			err = none
		}
		switch {
		case err == nil && known != nil && asPEM:
			return r.writeChains(ctx, p, what, known)
		case err == nil && known != nil:
			return r.showKnown(ctx, p, what, known)
		case err == nil, (p == nil || errors.Is(err, store.ErrNotFound)) && !isFile(what) && exists(what):
			// The name of a file need not look like one: alice.csr, alice.key.
			r.warnUnasked(none)
			return r.showFile(ctx, p, what, asPEM)
		}
		return err
	})
}

// warnUnasked says why the PKI could not be asked about a file, where there is
// one.
func (r *run) warnUnasked(none error) {
	if _, err := r.pkiDir(); err != nil || none == nil || errors.Is(none, store.ErrNoPKI) {
		return
	}
	r.warn("it is not known what the PKI has of this: %v", none)
}

// readingIfAny is reading where there is a PKI. Where there is none, do gets
// nil and the reason.
func (r *run) readingIfAny(ctx context.Context, do func(p *store.PKI, none error) error) error {
	opened := false
	err := r.reading(ctx, func(p *store.PKI) error {
		opened = true
		return do(p, nil)
	})
	if opened {
		return err
	}
	return do(nil, err)
}

// lookUp finds WHAT in the inventory. It gives nil for what means a file and
// is no identity's name.
func (r *run) lookUp(ctx context.Context, p *store.PKI, what string) (*store.Reading, error) {
	if p == nil || what == "-" || strings.HasPrefix(what, "file:") {
		return nil, nil
	}
	if isFile(what) {
		if _, err := p.Resolve(ctx, "name:"+what); err != nil {
			if errors.Is(err, store.ErrNotFound) {
				return nil, nil
			}
			return nil, err
		}
	}
	known, err := r.resolve(ctx, p, what)
	return &known, err
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// showKnown shows what the inventory has.
func (r *run) showKnown(ctx context.Context, p *store.PKI, what string, known *store.Reading) error {
	v := &showView{What: what, As: known.As, Items: []itemView{}}
	full := known.Certificates
	if known.Identity != nil {
		v.Identity = newIdentityView(known.Identity)
		v.Certificates = []certificateView{}
		for _, c := range known.Certificates {
			v.Certificates = append(v.Certificates, newCertificateView(c, r.now()))
		}
		full = full[:0:0]
		if newest, ok := r.newest(known.Certificates); ok {
			full = append(full, newest)
		}
	}
	for _, c := range full {
		cert, err := storedCertificate(ctx, p, c)
		if err != nil {
			return err
		}
		state := newCertificateView(c, r.now())
		v.Items = append(v.Items, itemView{Type: typeCertificate, Certificate: r.newX509View(cert), Inventory: &state})
	}
	return r.emit(v)
}

// newest chooses the certificate that was issued last, of the valid ones if
// there is any.
func (r *run) newest(certs []store.Certificate) (newest store.Certificate, ok bool) {
	valid := false
	for _, c := range certs {
		isValid := c.State(r.now()) == store.Valid
		if !ok || isValid && !valid || isValid == valid && c.Issued.After(newest.Issued) {
			newest, ok, valid = c, true, isValid
		}
	}
	return newest, ok
}

func storedCertificate(ctx context.Context, p *store.PKI, c store.Certificate) (*x509.Certificate, error) {
	der, err := p.DER(ctx, c.Fingerprint)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate %s cannot be read: %v", store.ErrDamaged, c.Serial, err)
	}
	return cert, nil
}

// writeChains writes certificate and issuing CA as PEM: the newest valid one
// of an identity.
func (r *run) writeChains(ctx context.Context, p *store.PKI, what string, known *store.Reading) error {
	chosen := known.Certificates
	if known.Identity != nil {
		newest, ok := r.newest(chosen)
		if !ok || newest.State(r.now()) != store.Valid {
			return failf("name one by its serial; they are listed by: mutual show "+what, "%q has no valid certificate", what)
		}
		chosen = []store.Certificate{newest}
	}
	for _, c := range chosen {
		chain, err := chainOf(ctx, p, c)
		if err != nil {
			return err
		}
		if _, err := r.out.Write(pemfile.EncodeCertificates(chain...)); err != nil {
			return err
		}
	}
	return nil
}

// chainOf gives the certificate and the one of the CA that issued it, without
// the root.
func chainOf(ctx context.Context, p *store.PKI, c store.Certificate) ([]*x509.Certificate, error) {
	cert, err := storedCertificate(ctx, p, c)
	if err != nil || c.Kind.IsCA() {
		return []*x509.Certificate{cert}, err
	}
	issuing, err := p.CACertificate(ctx, pki.KindIssuing)
	if err != nil {
		return nil, err
	}
	if string(issuing.SubjectKeyId) != string(c.IssuerKeyID) {
		return nil, fmt.Errorf("the certificate of the CA that issued %s is not in use any more", c.Serial)
	}
	return []*x509.Certificate{cert, issuing}, nil
}
