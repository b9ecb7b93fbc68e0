package commands

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/profile"
	"mutual/pki/store"
)

func demoCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "demo",
		Category: categoryEnforcing,
		Usage:    "see it work: an API that only alice may call, until she is revoked",
		Long: "Creates a PKI in a temporary place, starts a small HTTPS API on the loopback interface that requires client certificates, " +
			"calls it as nobody, as a stranger and as alice, revokes alice, calls again, and removes everything.",
		Example: "mutual demo",
		Action:  runDemo,
	})
}

// demoView is who called, when, and what became of it.
type demoView struct {
	Calls      []demoCall `json:"calls"`
	RevokedIn  float64    `json:"revokedInMs"`
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
	return p.Printf("\nalice was revoked, with the CRLs on disk, in %.1f ms; everything is removed again\n", v.RevokedIn)
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
		return failf("please report this with your system and the version", "%d of the calls did not end as they must", v.unexpected)
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
	server, err := r.demoIdentity(ctx, p, pki.KindServer, "localhost")
	if err != nil {
		return nil, err
	}
	alice, err := r.demoIdentity(ctx, p, pki.KindClient, "alice")
	if err != nil {
		return nil, err
	}
	stranger, err := selfMade("alice", r.env.Now())
	if err != nil {
		return nil, err
	}
	api, err := startDemoAPI(ctx, r.env.Now, p, server)
	if err != nil {
		return nil, err
	}
	defer api.close()
	r.note("an API that requires client certificates listens on https://%s", api.address())
	v := &demoView{}
	v.call(ctx, api, "nobody", beforeRevocation, nil, refused)
	v.call(ctx, api, "stranger", beforeRevocation, stranger, refused)
	v.call(ctx, api, "alice", beforeRevocation, alice, accepted)
	began := r.env.Now()
	name, err := pki.ParseName("alice", pki.KindClient)
	if err != nil {
		return nil, err
	}
	if _, err := p.Revoke(ctx, store.Selection{Names: []pki.Name{name}}, pki.KeyCompromise, false); err != nil {
		return nil, err
	}
	v.RevokedIn = float64(r.env.Now().Sub(began).Microseconds()) / 1000
	v.call(ctx, api, "alice", afterRevocation, alice, refused)
	return v, ctx.Err()
}

// call makes one call and counts it when it does not end as it must.
func (v *demoView) call(ctx context.Context, api *demoAPI, caller, when string, cert *tls.Certificate, want string) {
	verdict, reason := api.call(ctx, cert)
	if verdict != want {
		v.unexpected++
	}
	v.Calls = append(v.Calls, demoCall{Caller: caller, When: when, Verdict: verdict, Reason: reason})
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
	return store.Init(ctx, dir, req, r.storeOptions(ctx))
}

// demoIdentity issues a key and a certificate that stay in memory.
func (r *run) demoIdentity(ctx context.Context, p *store.PKI, kind pki.Kind, text string) (*tls.Certificate, error) {
	name, err := pki.ParseName(text, kind)
	if err != nil {
		return nil, err
	}
	signer, err := keys.Generate(keys.P256)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	issued, err := p.Issue(ctx, store.IssueRequest{Kind: kind, Name: name, PublicKey: signer.Public(), Window: profile.Window{}})
	if err != nil {
		return nil, err
	}
	out := &tls.Certificate{PrivateKey: signer, Leaf: issued.Certificate}
	for _, c := range issued.Chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out, nil
}
