package commands

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/gate/proof"
	"mutual/pki/keys"
	"mutual/pki/store"
)

func demoCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "demo",
		Category: categoryEnforcing,
		Usage:    "see it work: a gate that lets alice in, until she is revoked",
		Long: "Creates a PKI in a temporary place, puts a gate in front of a small API on the loopback interface, " +
			"calls it as nobody, as a stranger and as alice, opens live connections as alice, revokes alice, calls again, and removes everything.",
		Example: "mutual demo",
		Action:  runDemo,
	})
}

// demoView is who called, when, and what became of it, and what a revocation did.
type demoView struct {
	Calls      []demoCall    `json:"calls"`
	Claims     []proof.Claim `json:"claims"`
	RevokedIn  float64       `json:"revokedInMs"`
	unexpected int
}

type demoCall struct {
	Caller  string `json:"caller"`
	When    string `json:"when"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
}

// Text implements view.
func (v *demoView) Text(p *ui.Printer) error {
	t := ui.NewTable(ui.Column{Title: "CALLER"}, ui.Column{Title: "WHEN"}, ui.Column{Title: "VERDICT"}, ui.Column{Title: "REASON", Flexible: true})
	for _, c := range v.Calls {
		style := ui.Revoked
		if c.Verdict == accepted {
			style = ui.Valid
		}
		t.Row(ui.Name.Of(c.Caller), ui.Plain.Of(c.When), style.Of(c.Verdict), ui.Plain.Of(c.Reason))
	}
	_ = p.Table(t)
	_ = p.Printf("\n") // the printer keeps a failure
	_ = claimLines(p, v.Claims)
	return p.Printf("alice was revoked, with the CRLs on disk, in %.1f ms; everything is removed again\n", v.RevokedIn)
}

const (
	accepted = "accepted"
	refused  = "refused"
	unclear  = "could not tell"

	beforeRevocation = "before revocation"
	afterRevocation  = "after revocation"
)

func runDemo(ctx context.Context, r *run, _ *cli.Context) error {
	dir, err := os.MkdirTemp("", "mutual-demo-")
	if err != nil {
		return fmt.Errorf("creating a temporary place: %w", err)
	}
	v, err := r.playDemo(ctx, filepath.Join(dir, "pki"))
	if removeErr := os.RemoveAll(dir); err == nil {
		err = removeErr
	}
	if err != nil {
		return err
	}
	if err := r.emit(v); err != nil {
		return err
	}
	if v.unexpected > 0 {
		return failf("please report this with your system and the version", "%d things did not end as they must", v.unexpected)
	}
	return nil
}

func (r *run) playDemo(ctx context.Context, dir string) (*demoView, error) {
	r.note("creating a root and an issuing CA in %s", dir)
	p, err := r.demoPKI(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }() // its directory is about to be removed
	r.note("issuing a server certificate for localhost and a client certificate for alice")
	server, err := r.heldIdentity(ctx, p, pki.KindServer, "localhost")
	if err != nil {
		return nil, err
	}
	alice, err := r.heldIdentity(ctx, p, pki.KindClient, "alice")
	if err != nil {
		return nil, err
	}
	stranger, err := selfMade("alice", x509.ExtKeyUsageClientAuth, r.env.Now())
	if err != nil {
		return nil, err
	}
	local, err := r.startLocalGate(ctx, p, server)
	if err != nil {
		return nil, err
	}
	defer local.stop()
	r.note("a gate in front of a small API listens at https://%s", local.address)
	v := &demoView{}
	call := func(caller, when string, cert *tls.Certificate, want string) {
		verdict, reason := r.demoCall(ctx, local, server, cert)
		if verdict != want {
			v.unexpected++
		}
		v.Calls = append(v.Calls, demoCall{Caller: caller, When: when, Verdict: verdict, Reason: reason})
	}
	call("nobody", beforeRevocation, nil, refused)
	call("stranger", beforeRevocation, stranger, refused)
	call("alice", beforeRevocation, alice, accepted)
	name, err := pki.ParseName("alice", pki.KindClient)
	if err != nil {
		return nil, err
	}
	report, err := proof.Run(ctx, proof.Config{Client: clientOf(local.address, server, alice, r.env.Now), Now: r.env.Now,
		Revoke: func(ctx context.Context) error {
			_, err := r.revokeAtGates(ctx, p, store.Selection{Names: []pki.Name{name}}, pki.KeyCompromise)
			return err
		}})
	if err != nil {
		return nil, err
	}
	v.Claims, v.RevokedIn = report.Claims, float64(report.Took.Microseconds())/1000
	if !report.Holds() {
		v.unexpected++
	}
	call("alice", afterRevocation, alice, refused)
	return v, ctx.Err()
}

// demoCall makes one call. Why it was refused says the log of the gate.
func (r *run) demoCall(ctx context.Context, local *localGate, server, cert *tls.Certificate) (verdict, reason string) {
	before := local.refused.count()
	status, _, err := clientOf(local.address, server, cert, r.env.Now).Hello(ctx)
	if err == nil && status == http.StatusOK {
		return accepted, "200 OK"
	}
	if why := local.refused.next(ctx, before); why != "" {
		return refused, why
	}
	if err == nil {
		return unclear, http.StatusText(status)
	}
	return unclear, err.Error()
}

func (r *run) demoPKI(ctx context.Context, dir string) (*store.PKI, error) {
	req := store.InitRequest{Name: "Demo", KeyType: keys.P256, Settings: store.Settings{KeyType: keys.P256, Test: true}}
	for text, into := range map[string]*pki.Lifetime{
		"1d": &req.RootTTL, "12h": &req.IssuingTTL, "1h": &req.Settings.TTL, "6h": &req.Settings.CRLTTL, "7h": &req.Settings.RootCRLTTL,
	} {
		var err error
		if *into, err = pki.ParseLifetime(text); err != nil {
			return nil, err
		}
	}
	opts := r.storeOptions(ctx)
	r.watchGates(ctx, dir, &opts)
	return store.Init(ctx, dir, req, opts)
}

// heldIdentity issues a key and a certificate that stay in memory; one of the kind
// probe is short-lived.
func (r *run) heldIdentity(ctx context.Context, p *store.PKI, kind pki.Kind, text string) (*tls.Certificate, error) {
	name, err := pki.ParseAnyName(text)
	if err != nil {
		return nil, usage(err)
	}
	req := store.IssueRequest{Kind: kind, Name: name}
	if kind == pki.KindProbe {
		if req.Window.TTL, err = pki.ParseLifetime(probeLifetime); err != nil {
			return nil, err
		}
	}
	signer, err := keys.Generate(keys.P256)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	req.PublicKey = signer.Public()
	issued, err := p.Issue(ctx, req)
	if err != nil {
		return nil, usageIfRequest(err)
	}
	out := &tls.Certificate{PrivateKey: signer, Leaf: issued.Certificate}
	for _, c := range issued.Chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out, nil
}
