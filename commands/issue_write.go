package commands

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// place is where a key and its certificate go.
type place struct {
	stdout   bool
	target   bundle.Target
	exporter *exporter // writes another format beside them; nil: none is wanted
}

// place reads the flags that say where the files go.
func (r *run) place(c *cli.Context, name pki.Name, withKey bool) (place, error) {
	if c.String("out") != "-" {
		t := bundle.Target{Dir: c.String("out"), Base: name.FileBase(), Force: c.Bool("force"), WithKey: withKey, Combined: c.Bool("bundle")}
		if t.Dir == "" {
			t.Dir = "."
		}
		return place{target: t}, nil
	}
	switch {
	case r.json:
		return place{}, usagef("--json and --out - both want standard output")
	case c.Bool("force") || c.Bool("bundle"):
		return place{}, usagef("--force and --bundle are about files, and --out - writes none")
	case r.env.Stdout.Terminal && withKey:
		return place{}, failf("redirect it to a file or a program, or name a directory with --out", "refusing to write a key to a terminal")
	}
	return place{stdout: true}, nil
}

// remembered is where a renewal will find the files, if that may be
// remembered.
func (o place) remembered(c *cli.Context) (store.Place, error) {
	if o.stdout || c.Bool("no-remember") {
		return store.Place{}, nil
	}
	files, err := o.target.Files().Abs()
	return store.Place{Key: files.Key, Certificate: files.Certificate, Combined: files.Combined}, err
}

// check refuses places that cannot be written to.
func (o place) check() error {
	if o.stdout {
		return nil
	}
	err := bundle.Check(o.target)
	if errors.Is(err, fs.ErrExist) {
		return withHint(err, "write elsewhere with --out DIR, or replace it with --force")
	}
	return err
}

// issueAndWrite is the order in which nothing can be lost: the key is durable
// under a temporary name before the certificate is committed to the inventory,
// and then both get their names. The disk flushes the key while the certificate
// is made.
func (r *run) issueAndWrite(ctx context.Context, p *store.PKI, req store.IssueRequest, signer crypto.Signer, o place) error {
	var keyPEM []byte
	if signer != nil {
		der, err := keys.MarshalPKCS8(signer)
		if err != nil {
			return fmt.Errorf("encoding the key: %w", err)
		}
		keyPEM = pemfile.EncodeKey(der)
	}
	if o.stdout {
		return r.issueToStdout(ctx, p, req, keyPEM)
	}
	if err := o.exporter.prepareBeside(ctx, r, p); err != nil {
		return err
	}
	var pending *bundle.Pending
	flushing := make(chan error, 1)
	go func() {
		var err error
		pending, err = bundle.Stage(o.target, keyPEM)
		flushing <- err
	}()
	staged := sync.OnceValue(func() error { return <-flushing })
	req.Ready = staged
	issued, err := p.Issue(ctx, req)
	if err := staged(); err != nil {
		return err
	}
	if errors.Is(err, store.ErrMaybe) {
		if where := pending.Keep(); where != "" {
			err = fmt.Errorf("%w; the key is kept in %q", err, where)
		}
		return err
	}
	if err != nil {
		_ = pending.Discard() // the first error is the one to report
		return usageIfRequest(err)
	}
	files, err := pending.Commit(pemfile.EncodeCertificates(issued.Chain...))
	if err != nil {
		return failf("write the certificate again with: mutual show "+issued.Serial.String()+" --pem; or take it out with: mutual revoke "+issued.Serial.String(),
			"the certificate %s is issued, but not all of it is written: %w", issued.Serial, err)
	}
	r.done = fmt.Sprintf("the certificate %s is issued, and its files are written", issued.Serial)
	r.noteIssued(req, issued)
	v := newIssueView(req, issued)
	v.Key, v.Certificate, v.Bundle = files.Key, files.Certificate, files.Combined
	if v.Export, err = o.exporter.writeBeside(r, req.Name, issued.Chain, signer, files.Key); err != nil {
		return err
	}
	if err := r.emit(v); err != nil {
		return err
	}
	if !o.target.Force {
		return nil
	}
	return r.noteReplaced(ctx, p, req, issued)
}

// noteReplaced says which certificates of the identity stay valid beside the
// new one when --force has replaced their files.
func (r *run) noteReplaced(ctx context.Context, p *store.PKI, req store.IssueRequest, issued *store.Issued) error {
	valid, err := p.Renewable(ctx, req.Name)
	if err != nil {
		return err
	}
	for _, old := range valid {
		if old.Serial != issued.Serial {
			r.note("serial %s stays valid until %s; revoke it with: mutual revoke %s", old.Serial, when(old.NotAfter), old.Serial)
		}
	}
	return nil
}

// issueToStdout writes key and chain where no other person can read along.
func (r *run) issueToStdout(ctx context.Context, p *store.PKI, req store.IssueRequest, keyPEM []byte) error {
	if err := r.write(keyPEM); err != nil { // nothing is issued for a key that is lost
		return err
	}
	issued, err := p.Issue(ctx, req)
	if err != nil {
		return usageIfRequest(err)
	}
	r.done = fmt.Sprintf("the certificate %s is issued", issued.Serial)
	r.noteIssued(req, issued)
	return r.write(pemfile.EncodeCertificates(issued.Chain...))
}

func (r *run) write(data []byte) error {
	if _, err := r.out.Write(data); err != nil {
		return err
	}
	if err := r.out.Flush(); err != nil {
		return &brokenStdout{err, r.done}
	}
	return nil
}

// noteIssued says what is worth knowing of a new certificate.
func (r *run) noteIssued(req store.IssueRequest, issued *store.Issued) {
	cert := issued.Certificate
	if req.Kind != pki.KindServer && len(issued.Chain[1].PermittedDNSDomains) > 0 && len(cert.DNSNames) == 0 {
		r.warn("Java refuses this certificate: its CA is bound to DNS names, and it has none; give it one with --dns")
	}
	if issued.Clipped != "" {
		r.note("the lifetime was clipped to %s by %s", when(cert.NotAfter), issued.Clipped)
	}
}

func newIssueView(req store.IssueRequest, issued *store.Issued) *issueView {
	cert := issued.Certificate
	v := &issueView{
		Name: req.Name.String(), Kind: req.Kind, Serial: issued.Serial, Subject: cert.Subject.String(), SAN: sanStrings(cert),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, SHA256: pki.FingerprintOf(cert.Raw), Label: req.Label, Clipped: issued.Clipped,
	}
	if !req.Window.NotBefore.IsZero() {
		v.from = when(cert.NotBefore)
	}
	return v
}
