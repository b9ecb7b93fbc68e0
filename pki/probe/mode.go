package probe

import (
	"fmt"
	"slices"
	"strings"
)

// Mode is how an endpoint treats client certificates.
type Mode string

// The modes.
const (
	NotRequested        Mode = "NOT_REQUESTED"
	OptionalUnverified  Mode = "OPTIONAL_UNVERIFIED"  // a client without a certificate is let in, and so is a stranger
	OptionalVerified    Mode = "OPTIONAL_VERIFIED"    // a client without a certificate is let in, a stranger is refused
	RequiredUnverified  Mode = "REQUIRED_UNVERIFIED"  // any certificate will do
	RequiredVerified    Mode = "REQUIRED_VERIFIED"    // only the good certificate is let in
	RequiredUnconfirmed Mode = "REQUIRED_UNCONFIRMED" // all that was tried is refused, or no stranger or no good certificate was tried
	Pinned              Mode = "PINNED"               // the good certificate is let in, another good one is not
	RejectsGood         Mode = "REJECTS_GOOD"         // everyone is refused, the good certificate, too
	Conditional         Mode = "CONDITIONAL"          // differs by path or TLS version
	ModeInconclusive    Mode = "INCONCLUSIVE"
	Unreachable         Mode = "UNREACHABLE"
)

// Expectation is what an endpoint should do. The zero value depends on
// Config.Good.
type Expectation string

// The expectations.
const (
	ExpectVerified Expectation = "required-verified" // REQUIRED_VERIFIED or PINNED
	ExpectRequired Expectation = "required"          // these, REQUIRED_UNCONFIRMED or REJECTS_GOOD
	ExpectOptional Expectation = "optional"          // OPTIONAL_VERIFIED or OPTIONAL_UNVERIFIED
	ExpectNone     Expectation = "none"              // NOT_REQUESTED
)

// Expectations lists them.
func Expectations() []Expectation {
	return []Expectation{ExpectVerified, ExpectRequired, ExpectOptional, ExpectNone}
}

// accepts says whether a mode is as expected.
func (x Expectation) accepts(m Mode) bool {
	switch m {
	case NotRequested:
		return x == ExpectNone
	case OptionalUnverified, OptionalVerified:
		return x == ExpectOptional
	case RequiredVerified, Pinned:
		return x == ExpectVerified || x == ExpectRequired
	case RequiredUnconfirmed, RejectsGood:
		return x == ExpectRequired
	}
	return false
}

func (x Expectation) outcome(m Mode) Outcome {
	switch {
	case m == ModeInconclusive, m == Unreachable:
		return CouldNotTell
	case x == ExpectVerified && m == RequiredUnconfirmed: // nothing is wrong, and nothing proven
		return CouldNotTell
	case x.accepts(m):
		return OK
	}
	return Violated
}

// standing is what a trial says in the end: let in, refused, or not known. Who
// gets nobody's answer stands where nobody does.
func (p *page) standing(t *trial) Verdict {
	verdict := t.Verdict
	if verdict == SameAsNone {
		verdict = p.none.Verdict
	}
	if verdict == LocalRefused {
		return Inconclusive
	}
	return verdict
}

// stranger is the standing of the most permissive of those who must be refused,
// and that trial; nil if there is none. Who proves possession falsely is one of
// them.
func (p *page) stranger() (*trial, Verdict) {
	var worst *trial
	for _, wanted := range []Verdict{Accepted, Inconclusive, Rejected} {
		for _, t := range p.strangers {
			if worst == nil && p.standing(t) == wanted {
				worst = t
			}
		}
	}
	if worst != nil && p.unproven != nil && p.unproven.Verdict != SameAsNone {
		switch p.standing(p.unproven) {
		case Accepted:
			worst = p.unproven
		case Inconclusive:
			if p.standing(worst) == Rejected {
				worst = p.unproven
			}
		}
	}
	if worst == nil {
		return nil, Inconclusive
	}
	return worst, p.standing(worst)
}

// conclude gives the mode of a page.
func (p *page) conclude() Child {
	child := Child{Path: p.path, TLS: versionName(p.version), EnforcedAt: LayerNone, Strength: p.none.Strength}
	set := func(m Mode, reason string, because ...*trial) Child {
		child.Mode, child.Reason = m, reason
		for _, t := range because {
			if t.Strength == Weak {
				child.Strength = Weak
			}
		}
		return child
	}
	stranger, refused := p.stranger()
	switch none := p.standing(p.none); {
	case !p.none.asked && p.none.established:
		child.Strength = Strong
		return set(NotRequested, "no client certificate is requested")
	case none == Accepted:
		return p.optional(set, stranger, refused, &child)
	case none != Rejected:
		return set(ModeInconclusive, "without a certificate: "+p.none.Detail)
	}
	child.EnforcedAt = p.none.Layer
	switch {
	case stranger != nil && refused == Accepted:
		return set(RequiredUnverified, "a certificate is required, and a self-made one will do: "+stranger.Detail, stranger)
	case stranger != nil && refused != Rejected:
		return set(ModeInconclusive, "a stranger: "+stranger.Detail)
	case p.good == nil && p.asksForMore():
		child.doubtful, child.Strength = true, Weak
		return set(RequiredUnconfirmed, "whoever was tried is refused by the application, perhaps for something else than a certificate: "+p.none.Detail+"; give a certificate that is let in")
	case p.good == nil:
		return set(RequiredUnconfirmed, "a client without a certificate is refused: "+p.none.Detail)
	}
	switch p.standing(p.good) {
	case Rejected:
		child.doubtful = p.none.answered() && !refuses(p.none.status())
		return set(RejectsGood, "your certificate is refused, as everyone: "+p.good.Detail, p.good)
	case Accepted:
	default:
		return set(ModeInconclusive, "your certificate: "+p.good.Detail)
	}
	switch {
	case stranger == nil:
		return set(RequiredUnconfirmed, "a certificate is required, yours is accepted, and no stranger was tried", p.good)
	case p.other == nil || p.standing(p.other) == Accepted:
		return set(RequiredVerified, "a certificate is required, yours is accepted, and a stranger is refused", p.good, stranger)
	case p.standing(p.other) == Rejected:
		return set(Pinned, "your certificate is accepted, and the other one is refused: "+p.other.Detail, p.good, p.other)
	}
	return set(ModeInconclusive, "your other certificate: "+p.other.Detail)
}

// asksForMore reports whether a stranger got as far as an application, and was
// refused there: it may want a password, and no certificate would help.
func (p *page) asksForMore() bool {
	return slices.ContainsFunc(p.strangers, func(t *trial) bool {
		return t.response != nil && (t.Layer == LayerApp || t.Verdict == SameAsNone && p.none.Layer == LayerApp)
	})
}

// optional is for a page that lets in whoever has no certificate.
func (p *page) optional(set func(Mode, string, ...*trial) Child, stranger *trial, refused Verdict, child *Child) Child {
	said := "a client without a certificate is let in"
	switch {
	case stranger == nil:
		child.Strength = Weak
		return set(OptionalUnverified, said+", and no stranger was tried")
	case refused == Accepted:
		return set(OptionalUnverified, said+", and a stranger, too: "+stranger.Detail, stranger)
	case refused == Rejected:
		child.EnforcedAt = stranger.Layer
		return set(OptionalVerified, said+", and a stranger is refused: "+stranger.Detail, stranger)
	}
	return set(ModeInconclusive, said+"; a stranger: "+stranger.Detail)
}

// merge gives the mode of several children: theirs if it is one, else
// CONDITIONAL; INCONCLUSIVE if that is what one of them is.
func merge(children []Child) (mode Mode, at Layer, strength Strength) {
	mode, at, strength = children[0].Mode, children[0].EnforcedAt, Strong
	for _, c := range children {
		switch {
		case c.Mode == mode || mode == ModeInconclusive:
		case c.Mode == ModeInconclusive:
			mode = ModeInconclusive
		default:
			mode = Conditional
		}
		if c.EnforcedAt != at && !(at == LayerHandshake && c.EnforcedAt == LayerPostHandshake) {
			at = later(at, c.EnforcedAt)
		}
		if c.Strength == Weak {
			strength = Weak
		}
	}
	if mode == Conditional || mode == ModeInconclusive {
		at = LayerNone
	}
	return mode, at, strength
}

// later is the layer that is farther from the handshake: where two versions
// differ, all that is before it is open to everyone in one of them.
func later(a, b Layer) Layer {
	order := []Layer{LayerHandshake, LayerPostHandshake, LayerRenegotiation, LayerClose, LayerHTTP, LayerApp, LayerNone}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}

// conclude gives the report its modes and its outcome.
func (p *prober) conclude() {
	r := p.report
	for i := range r.Children {
		c := &r.Children[i]
		if c.Outcome = r.Expected.outcome(c.Mode); c.doubtful && c.Outcome == OK {
			c.Outcome = CouldNotTell
		}
	}
	for i := range r.TLS {
		v := &r.TLS[i]
		var mine []Child
		for _, c := range r.Children {
			if c.TLS == v.Version {
				mine = append(mine, c)
			}
		}
		if len(mine) > 0 {
			v.Mode, v.EnforcedAt, _ = merge(mine)
			v.Reason = reasons(mine, nil)
		} else if v.Offered == Unknown {
			v.Mode, v.EnforcedAt = ModeInconclusive, LayerNone
		}
	}
	open := slices.IndexFunc(r.TLS, func(v Version) bool { return v.Offered == Unknown })
	switch {
	case r.Server != nil && r.Server.Trust == Untrusted:
		r.Mode, r.Outcome, r.Reason = ModeInconclusive, Violated, "the server is not trusted: "+r.Server.TrustDetail
		return
	case len(r.Children) == 0:
		r.Mode, r.Reason = ModeInconclusive, "no TLS version was offered: "+r.TLS[0].Reason
		if open >= 0 {
			r.Reason = r.TLS[open].Reason
		}
		return
	}
	r.Mode, r.EnforcedAt, r.Strength = merge(r.Children)
	children := r.Children
	if open >= 0 {
		r.Mode, r.EnforcedAt = ModeInconclusive, LayerNone
		children = append(slices.Clone(children), Child{Path: p.paths()[0], TLS: r.TLS[open].Version, Mode: ModeInconclusive, Reason: r.TLS[open].Reason})
	}
	for _, outcome := range []Outcome{Violated, CouldNotTell, OK} {
		if r.Reason = reasons(children, &outcome); r.Reason == "" {
			continue
		}
		r.Outcome = outcome
		unknown := CouldNotTell
		if said := reasons(children, &unknown); outcome == Violated && said != "" {
			r.Reason += "; could not tell: " + said
		}
		return
	}
}

// reasons gives the reasons of children, those of one outcome if it is given;
// of those with the same reason once, with what it is true of.
func reasons(children []Child, outcome *Outcome) string {
	var order []string
	where := map[string][]string{}
	paths, versions := map[string]bool{}, map[string]bool{}
	for _, c := range children {
		paths[c.Path], versions[c.TLS] = true, true
		if outcome != nil && c.Outcome != *outcome {
			continue
		}
		if where[c.Reason] == nil {
			order = append(order, c.Reason)
		}
		where[c.Reason] = append(where[c.Reason], c.TLS+" "+escape(c.Path))
	}
	var out []string
	for _, reason := range order {
		if len(where[reason]) == len(children) {
			return reason
		}
		var names []string
		for _, w := range where[reason] {
			version, path, _ := strings.Cut(w, " ")
			if len(paths) == 1 {
				names = append(names, version)
			} else {
				names = append(names, fmt.Sprintf("%s %s", version, path))
			}
		}
		out = append(out, "TLS "+strings.Join(names, ", ")+": "+reason)
	}
	return strings.Join(out, "; ")
}
