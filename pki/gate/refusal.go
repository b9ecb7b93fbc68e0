package gate

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"mutual/pki/chain"
)

// Code says in one word why somebody was not let in, or was cut.
type Code string

// The codes.
const (
	CodeNoCertificate  Code = "noCertificate"  // the client presented none
	CodeUnknownCA      Code = "unknownCA"      // its chain leads to nothing that is trusted
	CodeBadChain       Code = "badChain"       // its chain breaks a rule of RFC 5280
	CodeExpired        Code = "expired"        // it, or a CA above it, has ended
	CodeNotYetValid    Code = "notYetValid"    // it, or a CA above it, has not begun
	CodeWrongPurpose   Code = "wrongPurpose"   // it is not for client authentication
	CodeRevoked        Code = "revoked"        // it is revoked or held
	CodeNotInInventory Code = "notInInventory" // it is genuine, and the PKI does not know it
	CodeCouldNotTell   Code = "couldNotTell"   // something that decides is not known
	CodeNotAllowed     Code = "notAllowed"     // no rule lets it in
	CodeSourceLost     Code = "sourceLost"     // the source has not been read for longer than the lease
	CodeRolledBack     Code = "rolledBack"     // the source is older than what was seen of it
	CodeTooMany        Code = "tooMany"        // a limit is reached
	CodeHandshake      Code = "handshake"      // TLS itself failed
	CodeShutdown       Code = "shutdown"       // the gate ends
	CodeLogLost        Code = "logLost"        // what must be logged cannot be
	CodeBadRequest     Code = "badRequest"     // the request cannot be judged
)

// Refusal is why somebody is not let in.
type Refusal struct {
	Code   Code
	Reason string // one line
}

// Error gives the line.
func (r *Refusal) Error() string { return r.Reason }

// refusalOf says why a chain was not found good.
func refusalOf(r chain.Result, anchors []*x509.Certificate, at time.Time) *Refusal {
	return &Refusal{Code: codeOf(r, anchors, at), Reason: r.Reason}
}

func codeOf(r chain.Result, anchors []*x509.Certificate, at time.Time) Code {
	if r.Revoked.Revoked {
		return CodeRevoked
	}
	for _, c := range r.Checks {
		if c.Outcome != r.Outcome {
			continue
		}
		switch c.Name {
		case chain.CheckChain:
			return codeOfChain(r, anchors)
		case chain.CheckValidity:
			if slices.ContainsFunc(r.Chain, func(c *x509.Certificate) bool { return at.Before(c.NotBefore) }) {
				return CodeNotYetValid
			}
			return CodeExpired
		case chain.CheckPurpose:
			return CodeWrongPurpose
		case chain.CheckRevocation:
			if r.Outcome == chain.Bad { // one of its CAs
				return CodeRevoked
			}
		}
		break
	}
	return CodeCouldNotTell
}

// codeOfChain tells a chain that ends nowhere from one that breaks a rule.
func codeOfChain(r chain.Result, anchors []*x509.Certificate) Code {
	if len(r.Chain) == 0 {
		return CodeUnknownCA
	}
	last := r.Chain[len(r.Chain)-1]
	if slices.ContainsFunc(anchors, func(a *x509.Certificate) bool { return bytes.Equal(a.Raw, last.Raw) }) {
		return CodeBadChain
	}
	return CodeUnknownCA
}
