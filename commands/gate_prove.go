package commands

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/gate/proof"
	"mutual/pki/store"
)

func gateTestCommand() *cli.Command {
	return leaf(leafSpec{
		Name:  "test",
		Usage: "prove that a revocation is at once, with a gate of its own",
		Long: "Starts a gate of the PKI in front of a small API on the loopback interface, issues a certificate of five minutes, " +
			"opens an HTTP/1.1 stream, an HTTP/2 stream and a WebSocket with it, revokes it, and measures what becomes of them. " +
			"The certificate is of the kind probe and stays on record; nobody's name is blocked. Without a PKI, or with --temporary, it is one that is removed again.\n\n" +
			"Exits with 3 when something does not hold.",
		Example: "mutual gate test\nmutual gate test --temporary --json",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "temporary", Usage: "take a PKI of its own in a temporary place"},
		},
		Passphrase: true,
		Action:     runGateTest,
	})
}

// gateTestView is what was seen.
type gateTestView struct {
	Holds     bool          `json:"holds"`
	Claims    []proof.Claim `json:"claims"`
	RevokedIn float64       `json:"revokedInMs"`
}

// Text implements view.
func (v *gateTestView) Text(p *ui.Printer) error { return claimLines(p, v.Claims) }

// claimLines prints a line for each claim.
func claimLines(p *ui.Printer, claims []proof.Claim) error {
	for _, c := range claims {
		word, style := "holds", ui.Valid
		if !c.Holds {
			word, style = "FAILS", ui.Revoked
		}
		if err := p.Line(style.Of(word), ui.Plain.Of("  "+c.What+": "), ui.Muted.Of(c.Detail)); err != nil {
			return err
		}
	}
	return nil
}

func runGateTest(ctx context.Context, r *run, c *cli.Context) error {
	dir, err := r.pkiDir()
	if err != nil && !c.Bool("temporary") {
		return err
	}
	_, missing := os.Stat(filepath.Join(dir, "mutual.db"))
	if c.Bool("temporary") || missing != nil && r.pkiFlag == "" && r.env.Getenv(envPKI) == "" {
		return r.proveInTemporary(ctx)
	}
	return r.writing(ctx, func(p *store.PKI) error { return r.prove(ctx, p) })
}

// proveInTemporary proves it with a PKI that is removed again.
func (r *run) proveInTemporary(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "mutual-gate-")
	if err != nil {
		return fmt.Errorf("creating a temporary place: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // nothing in it matters
	p, err := r.demoPKI(ctx, filepath.Join(dir, "pki"))
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // its directory is about to be removed
	return r.prove(ctx, p)
}

// proofName is whose the certificate is that is issued to be revoked.
const proofName = "mutual-gate-test"

func (r *run) prove(ctx context.Context, p *store.PKI) error {
	server, err := selfMade("localhost", x509.ExtKeyUsageServerAuth, r.env.Now())
	if err != nil {
		return err
	}
	client, err := r.heldIdentity(ctx, p, pki.KindProbe, proofName)
	if err != nil {
		return err
	}
	local, err := r.startLocalGate(ctx, p, server)
	if err != nil {
		return err
	}
	defer local.stop()
	v, err := r.proveOf(ctx, p, local, server, client)
	if err != nil {
		return err
	}
	if err := r.emit(v); err != nil {
		return err
	}
	if !v.Holds {
		return bad(nil)
	}
	return nil
}

func (r *run) proveOf(ctx context.Context, p *store.PKI, local *localGate, server, client *tls.Certificate) (*gateTestView, error) {
	var out *store.Outcome
	report, err := proof.Run(ctx, proof.Config{Client: clientOf(local.address, server, client, r.env.Now), Now: r.env.Now,
		Revoke: func(ctx context.Context) (err error) {
			s := store.Selection{Certificates: []pki.Fingerprint{pki.FingerprintOf(client.Leaf.Raw)}}
			out, err = r.revokeAtGates(ctx, p, s, pki.Superseded)
			return err
		}})
	if err != nil {
		return nil, err
	}
	v := &gateTestView{Claims: report.Claims, RevokedIn: float64(report.Took.Microseconds()) / 1000}
	v.Claims = append(v.Claims, published(out, report.Took))
	v.Holds = report.Holds() && v.Claims[len(v.Claims)-1].Holds
	return v, nil
}

// published is the claim that the list with the revocation is out.
func published(o *store.Outcome, took time.Duration) proof.Claim {
	c := proof.Claim{What: "the CRL is published"}
	for _, l := range o.CRLs {
		if l.Made {
			c.Holds = true
			c.What = fmt.Sprintf("CRL number %s is published", l.Number)
			c.Detail = fmt.Sprintf("%.1f ms after the revocation began", float64(took.Microseconds())/1000)
		}
	}
	return c
}

// revokeAtGates revokes, and returns when the lists are out and the gates have
// acknowledged it.
func (r *run) revokeAtGates(ctx context.Context, p *store.PKI, s store.Selection, reason pki.Reason) (*store.Outcome, error) {
	o, err := p.Revoke(ctx, s, reason, false)
	if err != nil {
		return nil, err
	}
	answers, err := r.gates.wait(ctx, p)
	if err == nil {
		err = unsureOfGates(answers)
	}
	return o, err
}
