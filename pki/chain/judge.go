package chain

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"mutual/pki/keys"
)

// judge makes every check on a path that ends in an anchor.
func (v *verifier) judge(path []*x509.Certificate) *Result {
	r := newResult(path)
	judgeChain(r, path)
	judgeValidity(r, path, v.At)
	judgePurpose(r, path[0], v.Purpose)
	v.judgeRevocation(r, path)
	r.describe(CheckChain, "%s", pathText(path))
	r.describe(CheckValidity, "valid until %s", timeText(validUntil(path)))
	r.describe(CheckPurpose, "%s", purposeText(v.Purpose))
	r.conclude()
	return r
}

// judgeChain checks keys, signatures and extensions of a path.
func judgeChain(r *Result, path []*x509.Certificate) {
	for i, c := range path {
		if ids := c.UnhandledCriticalExtensions; len(ids) > 0 {
			r.set(CheckChain, CouldNotTell, "%s the critical extension %s, which is not supported", having(path, i), ids[0])
		}
		judgeKey(r, path, i)
		if i < len(path)-1 && weakSignature(c.SignatureAlgorithm) {
			r.set(CheckChain, Bad, "%s a signature by %s, which is broken", having(path, i), c.SignatureAlgorithm)
		}
		if i > 0 {
			judgeIssuer(r, path, i)
		}
	}
	judgeConstraints(r, path)
}

// judgeKey checks the key of path[i]: weak is bad, of a kind that we do not
// trust with anything could not be told.
func judgeKey(r *Result, path []*x509.Certificate, i int) {
	err := keys.CheckPublic(path[i].PublicKey)
	if err == nil {
		return
	}
	if key, ok := path[i].PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		r.set(CheckChain, Bad, "%s a weak key (%s): RSA needs at least 2048 bits", having(path, i), keys.Describe(key))
		return
	}
	r.set(CheckChain, CouldNotTell, "%s a key that is not supported: %s", having(path, i), err)
}

func weakSignature(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

// judgeIssuer checks that path[i] may issue what stands below it.
func judgeIssuer(r *Result, path []*x509.Certificate, i int) {
	c := path[i]
	anchor := i == len(path)-1
	if !c.IsCA && !(anchor && c.Version < 3) { // RFC 5280, Section 6.1.4 (k)
		r.set(CheckChain, Bad, "its issuer %s is no CA", subjectText(c))
	}
	if hasExtension(c, oidKeyUsage) && c.KeyUsage&x509.KeyUsageCertSign == 0 { // RFC 5280, Section 6.1.4 (n)
		r.set(CheckChain, Bad, "its issuer %s may not sign certificates (no keyCertSign)", subjectText(c))
	}
	if c.BasicConstraintsValid && c.IsCA && (c.MaxPathLen > 0 || c.MaxPathLenZero) {
		below := 0
		for _, ca := range path[1:i] {
			// RFC 5280, Section 4.2.1.9: self-issued ones do not count.
			if !bytes.Equal(ca.RawSubject, ca.RawIssuer) {
				below++
			}
		}
		if below > c.MaxPathLen {
			r.set(CheckChain, Bad, "%s allows %d CAs below it, and there are %d", subjectText(c), c.MaxPathLen, below)
		}
	}
}

// judgeValidity compares the times. notAfter itself is within the lifetime
// (RFC 5280, Section 4.1.2.5); OpenSSL refuses a second earlier, so nobody
// should rely on that second.
func judgeValidity(r *Result, path []*x509.Certificate, at time.Time) {
	for i, c := range path {
		who := ""
		if i > 0 {
			who = fmt.Sprintf("its issuer %s: ", subjectText(c))
		}
		if at.After(c.NotAfter) {
			r.set(CheckValidity, Bad, "%sexpired %s ago (%s)", who, span(at.Sub(c.NotAfter)), timeText(c.NotAfter))
		}
		if at.Before(c.NotBefore) {
			r.set(CheckValidity, Bad, "%snot valid for another %s (%s)", who, span(c.NotBefore.Sub(at)), timeText(c.NotBefore))
		}
	}
}

// validUntil is the earliest notAfter of the path.
func validUntil(path []*x509.Certificate) time.Time {
	return slices.MinFunc(path, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

var (
	oidKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidCRLPoints       = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidExtKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// judgePurpose checks what the leaf is meant for. A certificate without an
// extended key usage is meant for everything (RFC 5280, Section 4.2.1.12);
// one that says so with anyExtendedKeyUsage alone is not taken for it, as
// OpenSSL and NSS do not.
func judgePurpose(r *Result, leaf *x509.Certificate, p Purpose) {
	if p == CA {
		judgeCA(r, leaf)
		return
	}
	if leaf.IsCA {
		r.set(CheckPurpose, Bad, "it is a CA's certificate, not a %s's", p)
	}
	if hasExtension(leaf, oidKeyUsage) && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		r.set(CheckPurpose, Bad, "its key usage does not allow digital signatures")
	}
	if !hasExtension(leaf, oidExtKeyUsage) || slices.Contains(leaf.ExtKeyUsage, p.usage()) {
		return
	}
	r.set(CheckPurpose, Bad, "meant for %s, not %s", usageText(leaf), p)
}

// judgeCA checks that a certificate is a CA's.
func judgeCA(r *Result, c *x509.Certificate) {
	if !c.IsCA {
		r.set(CheckPurpose, Bad, "it is no CA's certificate")
	}
	if hasExtension(c, oidKeyUsage) && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		r.set(CheckPurpose, Bad, "its key usage does not allow to sign certificates")
	}
}

func purposeText(p Purpose) string {
	if p == CA {
		return "for issuing certificates"
	}
	return "for " + p.String() + " authentication"
}

func usageText(c *x509.Certificate) string {
	names := map[x509.ExtKeyUsage]string{
		x509.ExtKeyUsageAny:             "any usage (anyExtendedKeyUsage)",
		x509.ExtKeyUsageServerAuth:      "server authentication",
		x509.ExtKeyUsageClientAuth:      "client authentication",
		x509.ExtKeyUsageCodeSigning:     "code signing",
		x509.ExtKeyUsageEmailProtection: "email protection",
		x509.ExtKeyUsageTimeStamping:    "time stamping",
		x509.ExtKeyUsageOCSPSigning:     "OCSP signing",
	}
	var out []string
	for _, u := range c.ExtKeyUsage {
		if name, ok := names[u]; ok {
			out = append(out, name)
		}
	}
	if len(out) == 0 || len(out) > 4 {
		return "something else"
	}
	return strings.Join(out, " and ")
}

func hasExtension(c *x509.Certificate, id asn1.ObjectIdentifier) bool { return extension(c, id) != nil }

// extension returns the value of an extension, nil if it is absent.
func extension(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return append([]byte{}, e.Value...)
		}
	}
	return nil
}

// judgeRevocation asks for each certificate below the anchor.
func (v *verifier) judgeRevocation(r *Result, path []*x509.Certificate) {
	if v.Revocation == nil {
		r.set(CheckRevocation, CouldNotTell, "whether it is revoked is not known: no revocation list was given")
		return
	}
	for i := range path[:len(path)-1] {
		status := v.Revocation(path[i:], v.At)
		if i == 0 {
			r.Revoked = status
		}
		who := ""
		if i > 0 {
			who = fmt.Sprintf("its issuer %s: ", subjectText(path[i]))
		}
		switch {
		case status.Revoked:
			r.set(CheckRevocation, Bad, "%srevoked on %s (%s)", who, timeText(status.At), status.Reason)
		case status.Outcome != Good:
			r.set(CheckRevocation, status.Outcome, "%s%s", who, oneLine(status.Detail))
		case i == 0:
			r.describe(CheckRevocation, "not revoked: %s", oneLine(status.Detail))
		}
	}
	switch {
	case len(path) > 1:
	case bytes.Equal(path[0].RawSubject, path[0].RawIssuer):
		r.describe(CheckRevocation, "trusted itself: nobody can revoke it")
	default: // its issuer could, and nobody asked
		r.set(CheckRevocation, CouldNotTell, "trusted itself: whether its issuer has revoked it was not looked for")
	}
}
