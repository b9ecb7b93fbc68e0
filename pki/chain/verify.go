package chain

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// Verify judges the leaf. Every chain that leads to an anchor is tried: it is
// good if one of them is; else it could not be told if that is so of one of
// them, unless a valid list has the leaf as revoked; else it is bad.
func Verify(leaf *x509.Certificate, o Options) Result {
	if r, ok := incomplete(leaf, o); ok {
		return r
	}
	v := &verifier{Options: o, anchors: present(o.Anchors), others: present(o.Intermediates)}
	if why := tooCostly(append([]*x509.Certificate{leaf}, v.others...)); why != "" {
		return unanswered(why)
	}
	paths, refused := v.chains(leaf)
	if refused != nil {
		// crypto/x509 says little of why: find what it did not like.
		paths = v.findPaths(leaf)
	}
	if len(paths) == 0 {
		return v.deadEnd(leaf, refused)
	}
	var best *Result
	for _, path := range paths {
		r := v.judge(path)
		if refused != nil && r.Outcome == Good {
			explain(r, refused)
		}
		if best == nil || preferred(r, best) {
			best = r
		}
	}
	return *best
}

// verifier is the state of one Verify.
type verifier struct {
	Options
	anchors, others []*x509.Certificate
	steps           int   // signatures checked by findPaths
	end             *dead // the most telling end of a path without an anchor
}

// incomplete answers when the question lacks something.
func incomplete(leaf *x509.Certificate, o Options) (Result, bool) {
	missing := ""
	switch {
	case leaf == nil || len(leaf.Raw) == 0:
		missing = "no certificate was given"
	case o.At.IsZero(): // crypto/x509 would take the time of day
		missing = "no time was given"
	case len(present(o.Anchors)) == 0: // crypto/x509 would take the system's
		missing = "no trust anchor was given"
	default:
		return Result{}, false
	}
	return unanswered(missing), true
}

// unanswered is the result where no question could be asked.
func unanswered(why string) Result {
	r := newResult(nil)
	for _, c := range r.Checks {
		r.set(c.Name, CouldNotTell, "%s", why)
	}
	r.conclude()
	return *r
}

// The bounds on what a stranger can make us compute: certificates that came
// with the leaf, and bits of an RSA modulus. crypto/x509 checks a signature
// with a modulus of any size.
const (
	maxCertificates = 256
	maxRSABits      = 16384
)

// tooCostly says why nothing is computed with untrusted certificates, or "".
func tooCostly(certs []*x509.Certificate) string {
	if len(certs) > maxCertificates {
		return fmt.Sprintf("there are %d certificates to build a chain from, and at most %d are looked at", len(certs), maxCertificates)
	}
	for _, c := range certs {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
			return fmt.Sprintf("the RSA key of %s has %d bits, and at most %d are computed with", subjectText(c), key.N.BitLen(), maxRSABits)
		}
	}
	return ""
}

// present leaves out what is no parsed certificate.
func present(certs []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range certs {
		if c != nil && len(c.Raw) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// chains asks crypto/x509 for every chain.
func (v *verifier) chains(leaf *x509.Certificate) ([][]*x509.Certificate, error) {
	return leaf.Verify(x509.VerifyOptions{
		Roots:               pool(v.anchors),
		Intermediates:       pool(v.others),
		CurrentTime:         v.At,
		KeyUsages:           []x509.ExtKeyUsage{v.Purpose.usage()},
		CertificatePolicies: v.policies,
	})
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// preferred reports whether a decides against b.
func preferred(a, b *Result) bool { return weight(a) > weight(b) }

func weight(r *Result) int {
	switch {
	case r.Outcome == Good:
		return 3
	case r.Revoked.Revoked:
		return 2
	case r.Outcome == CouldNotTell:
		return 1
	}
	return 0
}

// explain marks a chain in which nothing was found wrong and that crypto/x509
// refuses all the same. Where it judged, that is bad. Where it gave up, or
// judges otherwise than RFC 5280 does, nothing can be told: it counts
// self-issued certificates against pathLenConstraint, and misreads some name
// constraints.
func explain(r *Result, refused error) {
	var invalid x509.CertificateInvalidError
	errors.As(refused, &invalid) // leaves the zero value otherwise
	switch {
	case invalid.Cert == nil, invalid.Reason == x509.TooManyIntermediates, misread(invalid.Detail):
		r.set(CheckChain, CouldNotTell, "the chain is not supported: %s", oneLine(refused.Error()))
	case invalid.Reason == x509.CANotAuthorizedForThisName:
		r.set(CheckChain, Bad, "its names are outside the name constraints of a CA: %s", oneLine(invalid.Detail))
	case invalid.Reason == x509.NoValidChains:
		r.set(CheckChain, Bad, "its certificate policies are not those that its CAs demand")
	case invalid.Reason == x509.IncompatibleUsage:
		r.set(CheckPurpose, Bad, "the extended key usage of one of its CAs does not allow this purpose")
	default:
		r.set(CheckChain, CouldNotTell, "the chain is not supported: %s", oneLine(refused.Error()))
	}
	r.conclude()
}
