package chain

import (
	"crypto/x509"
	"fmt"
	"time"

	"mutual/pki"
)

// Outcome is what was found. The zero value is CouldNotTell, so that what was
// forgotten is not good.
type Outcome int

// The outcomes.
const (
	CouldNotTell Outcome = iota
	Good
	Bad
)

// String gives "good", "bad" or "couldNotTell".
func (o Outcome) String() string {
	switch o {
	case Good:
		return "good"
	case Bad:
		return "bad"
	case CouldNotTell:
		return "couldNotTell"
	}
	return fmt.Sprintf("outcome %d", int(o))
}

// MarshalText makes an Outcome its name in JSON.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Purpose is what the certificate shall be used for.
type Purpose int

// The purposes: authentication of a TLS client or of a TLS server, and
// issuing certificates.
const (
	Client Purpose = iota
	Server
	CA
)

// String gives "client", "server" or "CA".
func (p Purpose) String() string {
	switch p {
	case Server:
		return "server"
	case CA:
		return "CA"
	}
	return "client"
}

func (p Purpose) usage() x509.ExtKeyUsage {
	switch p {
	case Server:
		return x509.ExtKeyUsageServerAuth
	case CA:
		return x509.ExtKeyUsageAny
	}
	return x509.ExtKeyUsageClientAuth
}

// RevocationStatus is what is known of the revocation of one certificate.
type RevocationStatus struct {
	Outcome Outcome    // Good: known not to be revoked
	Revoked bool       // only with Bad
	Reason  pki.Reason // if Revoked
	At      time.Time  // if Revoked: the date in the list
	Detail  string     // one line: the list that says so, or what is missing
}

// RevocationFunc says whether chain[0] is revoked at a time. chain[1] is its
// issuer and the last element the trust anchor, in which the path of whoever
// speaks for the issuer must end, too (RFC 5280, Section 6.3.3 (f)). It is
// asked for each certificate below the anchor.
type RevocationFunc func(chain []*x509.Certificate, at time.Time) RevocationStatus

// Options is what Verify relies on.
type Options struct {
	Anchors       []*x509.Certificate // what is trusted
	Intermediates []*x509.Certificate // what may lead there; not trusted
	Purpose       Purpose
	At            time.Time
	Revocation    RevocationFunc // nil: whether it is revoked cannot be told

	// policies is the user-initial-policy-set (RFC 5280, Section 6.1.1 (c)),
	// any if nil: an input of PKITS that no command asks for.
	policies []x509.OID
}

// The names of the checks, in the order in which a Result has them.
const (
	CheckChain      = "chain"
	CheckValidity   = "validity"
	CheckPurpose    = "purpose"
	CheckRevocation = "revocation"
)

// Check is the outcome of one question, with a line of detail.
type Check struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail"`
}

// Result is the outcome of Verify.
type Result struct {
	Outcome Outcome
	// Checks holds the four checks in order, for the chain that was decisive.
	Checks []Check
	// Chain is that chain, leaf first; it ends before the anchor where none
	// was reached.
	Chain []*x509.Certificate
	// Reason is one line that says why it is bad or could not be told.
	Reason string
	// Revoked is what is known of the revocation of the leaf.
	Revoked RevocationStatus
}

func newResult(path []*x509.Certificate) *Result {
	return &Result{Chain: path, Checks: []Check{
		{CheckChain, Good, ""}, {CheckValidity, Good, ""}, {CheckPurpose, Good, ""}, {CheckRevocation, Good, ""},
	}}
}

// set lowers a check to the outcome unless it has one that is as bad: bad
// before could not tell before good, and the first of each.
func (r *Result) set(name string, outcome Outcome, format string, args ...any) {
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.Name == name && rank(outcome) > rank(c.Outcome) {
			c.Outcome, c.Detail = outcome, fmt.Sprintf(format, args...)
		}
	}
}

// describe says something of a check that is good.
func (r *Result) describe(name, format string, args ...any) {
	for i := range r.Checks {
		if c := &r.Checks[i]; c.Name == name && c.Outcome == Good && c.Detail == "" {
			c.Detail = fmt.Sprintf(format, args...)
		}
	}
}

// conclude draws outcome and reason from the checks.
func (r *Result) conclude() {
	r.Outcome, r.Reason = Good, ""
	for _, c := range r.Checks {
		if rank(c.Outcome) > rank(r.Outcome) {
			r.Outcome, r.Reason = c.Outcome, c.Detail
		}
	}
}

// rank orders the outcomes of the checks on one chain.
func rank(o Outcome) int {
	switch o {
	case Good:
		return 0
	case Bad:
		return 2
	}
	return 1
}
