package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// step does one act on alice and says what came of it.
func (f *fixture) step(line string) string {
	f.t.Helper()
	act, reasonName, _ := strings.Cut(line, " ")
	ctx, alice := f.t.Context(), Selection{Names: []pki.Name{name("alice")}}
	var o *Outcome
	var err error
	switch act {
	case "issue":
		_, err = f.tryIssue("alice", "")
		o = &Outcome{Changed: 1}
	case "revoke", "hold":
		reason := pki.CertificateHold
		if act == "revoke" {
			reason, err = pki.ParseReason(reasonName)
			f.must(err)
		}
		o, err = f.Revoke(ctx, alice, reason, false)
	case "unhold":
		o, err = f.Unhold(ctx, alice, false)
	case "allow":
		o, err = f.Allow(ctx, alice.Names, false)
	}
	switch {
	case err != nil:
		return err.Error()
	case o.anyChange():
		return "changed"
	}
	return "already"
}

// state says where the first certificate of alice stands, since when in hours,
// and whether the name is free.
func (f *fixture) state() string {
	f.t.Helper()
	known, err := f.Resolve(f.t.Context(), "name:alice")
	f.must(err)
	first := known.Certificates[len(known.Certificates)-1]
	out := string(first.State(f.now))
	if first.Revocation != nil {
		out += fmt.Sprintf(" %s +%.0fh", first.Revocation.Reason, first.Revocation.Done.Sub(start()).Hours())
	}
	switch {
	case !known.Identity.Blocked:
		return out + ", free"
	case known.Identity.BlockReason == pki.CertificateHold:
		return out + ", held"
	}
	return out + ", blocked"
}

// The rules of what an act makes of another; an hour passes before each.
func TestActs(t *testing.T) {
	const undone, held, blocked = `"alice": revoked, which cannot be undone`, `"alice" is held, and stays blocked until the hold ends`,
		`"alice": the identity is revoked: no certificate is issued for it`
	for _, row := range []struct{ steps, last, state string }{
		{"revoke superseded", "changed", "revoked superseded +1h, blocked"},
		{"revoke superseded, revoke superseded", "already", "revoked superseded +1h, blocked"},
		{"revoke superseded, revoke affiliationChanged", "already", "revoked superseded +1h, blocked"},
		{"revoke superseded, revoke keyCompromise", "changed", "revoked keyCompromise +1h, blocked"},
		{"revoke keyCompromise, revoke superseded", "already", "revoked keyCompromise +1h, blocked"},
		{"revoke superseded, hold", "already", "revoked superseded +1h, blocked"},
		{"revoke superseded, unhold", undone, "revoked superseded +1h, blocked"},
		{"revoke superseded, issue", blocked, "revoked superseded +1h, blocked"},
		{"revoke superseded, allow", "changed", "revoked superseded +1h, free"},
		{"revoke superseded, allow, issue", "changed", "revoked superseded +1h, free"},
		{"revoke superseded, allow, revoke superseded", "changed", "revoked superseded +1h, blocked"},
		{"hold", "changed", "held certificateHold +1h, held"},
		{"hold, hold", "already", "held certificateHold +1h, held"},
		{"hold, revoke superseded", "changed", "revoked superseded +1h, blocked"},
		{"hold, revoke keyCompromise", "changed", "revoked keyCompromise +1h, blocked"},
		{"hold, revoke superseded, unhold", undone, "revoked superseded +1h, blocked"},
		{"hold, issue", blocked, "held certificateHold +1h, held"},
		{"hold, allow", held, "held certificateHold +1h, held"},
		{"hold, unhold", "changed", "valid, free"},
		{"hold, unhold, unhold", "already", "valid, free"},
		{"hold, unhold, issue", "changed", "valid, free"},
		{"hold, unhold, hold", "changed", "held certificateHold +3h, held"},
		{"unhold", "already", "valid, free"},
		{"allow", "already", "valid, free"},
		{"revoke cACompromise", "the reason cACompromise is for a CA's certificate", "valid, free"},
		{"revoke aACompromise", "the reason aACompromise is for a CA's certificate", "valid, free"},
		{"revoke removeFromCRL", "a certificate cannot be revoked for the reason removeFromCRL", "valid, free"},
	} {
		t.Run(row.steps, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.issue("alice", "")
			last := ""
			for step := range strings.SplitSeq(row.steps, ", ") {
				f.now = f.now.Add(time.Hour)
				last = f.step(step)
				f.checkNumbers()
			}
			if last != row.last {
				t.Errorf("the last step gave %q, want %q", last, row.last)
			}
			if got := f.state(); got != row.state {
				t.Errorf("alice is %q, want %q", got, row.state)
			}
			if _, _, err := f.VerifyJournal(t.Context(), nil); err != nil {
				t.Error(err)
			}
			f.checkListed(strings.HasPrefix(row.state, "revoked") || strings.HasPrefix(row.state, "held"))
		})
	}
}

// checkListed holds the CRL against the inventory: an entry while alice is out.
func (f *fixture) checkListed(out bool) {
	f.t.Helper()
	issuing, _ := f.crls()
	if got := issuing.Entries == 1; got != out {
		f.t.Errorf("the list has %d entries", issuing.Entries)
	}
	if issuing.Overdue || !issuing.InPlace {
		f.t.Errorf("the list is overdue (%t) or not in place (%t)", issuing.Overdue, !issuing.InPlace)
	}
}

func TestSelections(t *testing.T) {
	f := newFixture(t)
	old := f.issue("alice", "Pixel 8", func(r *IssueRequest) { r.Window.TTL = lifetime("1h") })
	f.now = f.now.Add(2 * time.Hour)
	first := f.issue("alice", "Pixel 8")
	f.issue("alice", "")
	f.issue("bob", "Pixel 8")
	f.issue("dev-1", "")
	f.issue("dev-2", "")
	issuing, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	root, err := f.CACertificate(t.Context(), pki.KindRoot)
	f.must(err)
	names := func(s ...string) (out []pki.Name) {
		for _, n := range s {
			out = append(out, name(n))
		}
		return out
	}
	for _, row := range []struct {
		what     string
		s        Selection
		certs    string
		blocked  string
		err      string
		sentinel error
	}{
		{what: "a name", s: Selection{Names: names("alice")}, certs: "alice alice", blocked: "alice"},
		{what: "a name twice", s: Selection{Names: names("alice", "alice")}, certs: "alice alice", blocked: "alice"},
		{what: "two names", s: Selection{Names: names("bob", "alice")}, certs: "bob alice alice", blocked: "bob alice"},
		{what: "a label", s: Selection{Label: "Pixel 8"}, certs: "alice bob"},
		{what: "a name with a label", s: Selection{Names: names("alice"), Label: "Pixel 8"}, certs: "alice"},
		{what: "a glob", s: Selection{Glob: "dev-*"}, certs: "dev-1 dev-2", blocked: "dev-1 dev-2"},
		{what: "a glob with one character", s: Selection{Glob: "dev-?"}, certs: "dev-1 dev-2", blocked: "dev-1 dev-2"},
		{what: "a certificate", s: Selection{Certificates: []pki.Fingerprint{first.Fingerprint}}, certs: "alice"},
		{what: "an expired certificate", s: Selection{Certificates: []pki.Fingerprint{old.Fingerprint}}, certs: "alice"},
		{what: "a certificate and its name", s: Selection{Names: names("alice"), Certificates: []pki.Fingerprint{first.Fingerprint}},
			certs: "alice alice", blocked: "alice"},
		{what: "an unknown name", s: Selection{Names: names("carol")}, err: `"carol" is not in the inventory`, sentinel: ErrNotFound},
		{what: "a name in another case", s: Selection{Names: names("Alice")}, err: `"Alice" is not in the inventory`, sentinel: ErrNotFound},
		{what: "one known, one unknown", s: Selection{Names: names("bob", "carol")}, err: `"carol" is not`, sentinel: ErrNotFound},
		{what: "a glob for nobody", s: Selection{Glob: "x*"}, err: `a name that matches "x*" is not in the inventory`, sentinel: ErrNotFound},
		{what: "a label of nobody", s: Selection{Label: "x"}, err: `a certificate with the label "x" is not in the inventory`, sentinel: ErrNotFound},
		{what: "a label that the name lacks", s: Selection{Glob: "dev-*", Label: "Pixel 8"}, err: `a certificate with the label "Pixel 8"`, sentinel: ErrNotFound},
		{what: "the issuing CA by accident", s: Selection{Certificates: []pki.Fingerprint{pki.FingerprintOf(issuing.Raw)}}, err: "is a CA's certificate", sentinel: ErrIsCA},
		{what: "the issuing CA", s: Selection{CA: true, Certificates: []pki.Fingerprint{pki.FingerprintOf(issuing.Raw)}}, certs: "issuing"},
		{what: "the root", s: Selection{CA: true, Certificates: []pki.Fingerprint{pki.FingerprintOf(root.Raw)}}, err: "the root cannot be revoked", sentinel: ErrIsCA},
	} {
		t.Run(row.what, func(t *testing.T) {
			before, err := f.Head(t.Context())
			f.must(err)
			o, err := f.Revoke(t.Context(), row.s, pki.Superseded, true)
			if after, _ := f.Head(t.Context()); after != before {
				t.Error("a dry run wrote into the journal")
			}
			if row.err != "" {
				wantError(t, err, row.sentinel, row.err)
				return
			}
			f.must(err)
			var certs, blocked []string
			for c, err := range o.Certificates(t.Context()) {
				f.must(err)
				certs = append(certs, subjectOf(c.Name, c.Kind))
				if !c.Changed || c.Revocation == nil || c.Revocation.Reason != pki.Superseded || c.NameBlocked != (row.blocked != "") {
					t.Errorf("%s would be changed: %t, %+v, blocked: %t", c.Name, c.Changed, c.Revocation, c.NameBlocked)
				}
			}
			for n, err := range o.Names(t.Context()) {
				f.must(err)
				blocked = append(blocked, n.String())
			}
			if o.Selected != len(certs) || o.Blocked() != len(blocked) || o.Allowed() != 0 {
				t.Errorf("counted are %d, %d and %d", o.Selected, o.Blocked(), o.Allowed())
			}
			if got := strings.Join(certs, " "); got != row.certs {
				t.Errorf("the certificates are %q, want %q", got, row.certs)
			}
			if got := strings.Join(blocked, " "); got != row.blocked {
				t.Errorf("blocked are %q, want %q", got, row.blocked)
			}
		})
	}
}

// A hold of one certificate is ended by its serial; another's revocation is no
// obstacle where a glob or a name selects, and one where it is named itself.
func TestUnholdPasses(t *testing.T) {
	f := newFixture(t)
	gone, kept := f.issue("dev-1", ""), f.issue("dev-2", "")
	_, err := f.Revoke(t.Context(), Selection{Certificates: []pki.Fingerprint{kept.Fingerprint}}, pki.CertificateHold, false)
	f.must(err)
	f.revoke("dev-1")
	o, err := f.Unhold(t.Context(), Selection{Glob: "dev-*"}, false)
	f.must(err)
	for c, err := range o.Certificates(t.Context()) {
		f.must(err)
		if c.Changed != (c.Serial == kept.Serial) || c.Changed != (c.Revocation == nil) {
			t.Errorf("%s is released: %t, %+v", c.Name, c.Changed, c.Revocation)
		}
	}
	if o.Selected != 2 {
		t.Errorf("selected are %d", o.Selected)
	}
	_, err = f.Unhold(t.Context(), Selection{Certificates: []pki.Fingerprint{gone.Fingerprint}}, false)
	wantError(t, err, ErrNotHeld, "dev-1, serial "+gone.Serial.String()+": revoked, which cannot be undone")
}

// Where all that is selected is revoked, ending its hold is an error, however
// it was selected.
func TestUnholdNothingHeld(t *testing.T) {
	f := newFixture(t)
	f.issue("dev-1", "Pixel 8")
	_, err := f.Revoke(t.Context(), Selection{Label: "Pixel 8"}, pki.KeyCompromise, false)
	f.must(err)
	for _, s := range []Selection{{Label: "Pixel 8"}, {Glob: "dev-*"}, {Names: []pki.Name{name("dev-1")}}} {
		_, err := f.Unhold(t.Context(), s, false)
		wantError(t, err, ErrNotHeld, "revoked, which cannot be undone")
	}
	f.issue("dev-1", "Pixel 9")
	if _, err := f.Unhold(t.Context(), Selection{Names: []pki.Name{name("dev-1")}}, false); err != nil {
		t.Errorf("beside a valid one: %v", err)
	}
}

// A revoked issuing CA stands in the root's list and issues nothing more.
func TestRevokeIssuingCA(t *testing.T) {
	f := newFixture(t)
	cert, err := f.CACertificate(t.Context(), pki.KindIssuing)
	f.must(err)
	o, err := f.Revoke(t.Context(), Selection{CA: true, Certificates: []pki.Fingerprint{pki.FingerprintOf(cert.Raw)}}, pki.CACompromise, false)
	f.must(err)
	if o.Blocked() > 0 {
		t.Errorf("blocked are %d", o.Blocked())
	}
	if _, root := f.crls(); root.Entries != 1 {
		t.Errorf("the root's list has %d entries", root.Entries)
	}
	_, err = f.tryIssue("alice", "")
	wantError(t, err, ErrRevokedCA, "the issuing CA is revoked")
	wantError(t, f.CheckIssue(t.Context(), IssueRequest{Kind: pki.KindClient, Name: name("alice")}), ErrRevokedCA, "the issuing CA is revoked")
}

// A probe's certificate is for a known identity, hidden, and taken by a
// revocation of the name.
func TestProbesAreHidden(t *testing.T) {
	f := newFixture(t)
	probe := func(r *IssueRequest) { r.Kind, r.Window.TTL = pki.KindProbe, lifetime("5m") }
	wantError(t, f.CheckIssue(t.Context(), IssueRequest{Kind: pki.KindProbe, Name: name("alice")}), ErrNotFound, `"alice" is not in the inventory`)
	f.issue("alice", "")
	f.issue("alice", "", probe)
	if got := f.list(Filter{}); !slices.Equal(got, []string{"alice", "issuing", "root"}) {
		t.Errorf("listed are %v", got)
	}
	if got := f.list(Filter{Kind: pki.KindProbe}); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("the probes are %v", got)
	}
	if known, err := f.Resolve(t.Context(), "alice"); err != nil || len(known.Certificates) != 1 {
		t.Errorf("the name gives %d certificates, %v", len(known.Certificates), err)
	}
	if o := f.revoke("alice"); o.Changed != 2 {
		t.Errorf("revoked are %d certificates", o.Changed)
	}
	wantError(t, f.CheckIssue(t.Context(), IssueRequest{Kind: pki.KindProbe, Name: name("alice")}), ErrBlocked, "the identity is revoked")
}
