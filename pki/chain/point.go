package chain

import (
	"crypto/x509"
	"errors"
	"slices"

	"mutual/pki/crl"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// pointSet holds the names of the distribution points of a certificate, each
// the DER of a GeneralName.
type pointSet map[string]bool

// pointsOf reads the cRLDistributionPoints of a certificate (RFC 5280,
// Section 4.2.1.13). Points with a cRLIssuer lead to indirect lists, which
// are not supported: it is an error if a certificate has no other ones.
func pointsOf(c *x509.Certificate) (pointSet, error) {
	value := extension(c, oidCRLPoints)
	if value == nil {
		return nil, nil
	}
	malformed := errors.New("its CRL distribution points are malformed")
	in := cryptobyte.String(value)
	var points cryptobyte.String
	if !in.ReadASN1(&points, asn1.SEQUENCE) || !in.Empty() || points.Empty() {
		return nil, malformed
	}
	set := pointSet{}
	direct := false
	for !points.Empty() {
		var point, name, reasons, issuer cryptobyte.String
		var hasName, hasIssuer bool
		if !points.ReadASN1(&point, asn1.SEQUENCE) ||
			!point.ReadOptionalASN1(&name, &hasName, asn1.Tag(0).ContextSpecific().Constructed()) ||
			!point.ReadOptionalASN1(&reasons, nil, asn1.Tag(1).ContextSpecific()) ||
			!point.ReadOptionalASN1(&issuer, &hasIssuer, asn1.Tag(2).ContextSpecific().Constructed()) || !point.Empty() {
			return nil, malformed
		}
		if hasIssuer {
			continue
		}
		direct = true
		if !hasName {
			continue
		}
		parsed, err := crl.ReadDistributionPointName(name)
		if err != nil {
			return nil, malformed
		}
		for _, n := range generalNames(parsed, c.RawIssuer) {
			set[n] = true
		}
	}
	if !direct {
		return nil, errors.New("its revocation is published by another than its issuer (cRLIssuer), which is not supported")
	}
	return set, nil
}

// generalNames gives the names of a distribution point; one that is relative
// to the issuer is put below the issuer's name.
func generalNames(p *crl.DistributionPointName, issuer []byte) []string {
	if len(p.Relative) == 0 {
		var out []string
		for _, n := range p.FullName {
			out = append(out, string(n))
		}
		return out
	}
	in := cryptobyte.String(issuer)
	var names cryptobyte.String
	if !in.ReadASN1(&names, asn1.SEQUENCE) {
		return nil
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.Tag(4).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { // directoryName
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(names)
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(p.Relative) })
		})
	})
	der, err := b.Bytes()
	if err != nil {
		return nil
	}
	return []string{string(der)}
}

// covers reports whether the scope of the list takes in the certificate
// (RFC 5280, Section 6.3.3 (b) (2)). A certificate before version 3 does not
// say whether it is a CA's, so only a list of all covers it.
func (s *search) covers(list *crl.List) bool {
	scope, c := list.Scope(), s.chain[0]
	who := nameText(c.Issuer)
	switch {
	case scope.OnlyUserCerts && (c.Version < 3 || c.IsCA):
		return s.object(4, "the revocation list of %s covers only certificates of end entities", who)
	case scope.OnlyCACerts && (c.Version < 3 || !c.IsCA):
		return s.object(4, "the revocation list of %s covers only certificates of CAs", who)
	case scope.Point == nil:
		return true
	}
	inPoints := func(n string) bool { return s.points[n] }
	if !slices.ContainsFunc(generalNames(scope.Point, list.Issuer()), inPoints) {
		return s.object(5, "the revocation list of %s covers only certificates of another distribution point", who)
	}
	return true
}
