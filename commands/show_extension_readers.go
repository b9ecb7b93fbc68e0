package commands

import (
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki/crl"
)

// readSequence reads one SEQUENCE with nothing after it.
func readSequence(in cryptobyte.String) (body cryptobyte.String, ok bool) {
	ok = in.ReadASN1(&body, cbasn1.SEQUENCE) && in.Empty()
	return body, ok
}

func (v *extensionsView) readSubjectKeyID(in cryptobyte.String) bool {
	var id cryptobyte.String
	if !in.ReadASN1(&id, cbasn1.OCTET_STRING) || !in.Empty() {
		return false
	}
	v.SubjectKeyID = hexText(id)
	return true
}

func (v *extensionsView) readAuthorityKeyID(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	var id cryptobyte.String
	var present bool
	if !ok || !body.ReadOptionalASN1(&id, &present, contextTag(0)) ||
		!body.SkipOptionalASN1(contextTag(1).Constructed()) || !body.SkipOptionalASN1(contextTag(2)) {
		return false
	}
	v.AuthorityKeyID = hexText(id)
	return body.Empty()
}

// readKeyUsage reads the bits of RFC 5280, Section 4.2.1.3.
func (v *extensionsView) readKeyUsage(in cryptobyte.String) bool {
	var bits asn1.BitString
	if !in.ReadASN1BitString(&bits) || !in.Empty() {
		return false
	}
	for i, name := range []string{
		"digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment", "keyAgreement",
		"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
	} {
		if bits.At(i) == 1 {
			v.KeyUsage = append(v.KeyUsage, name)
		}
	}
	return true
}

func (v *extensionsView) readExtKeyUsage(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	for ok && !body.Empty() {
		var oid asn1.ObjectIdentifier
		if ok = body.ReadASN1ObjectIdentifier(&oid); ok {
			v.ExtKeyUsage = append(v.ExtKeyUsage, extKeyUsageName(oid.String()))
		}
	}
	return ok
}

// extKeyUsageName gives the name of a key purpose (RFC 5280, Section
// 4.2.1.12), or the object identifier as it is.
func extKeyUsageName(oid string) string {
	switch oid {
	case "2.5.29.37.0":
		return "anyExtendedKeyUsage"
	case "1.3.6.1.5.5.7.3.1":
		return "serverAuth"
	case "1.3.6.1.5.5.7.3.2":
		return "clientAuth"
	case "1.3.6.1.5.5.7.3.3":
		return "codeSigning"
	case "1.3.6.1.5.5.7.3.4":
		return "emailProtection"
	case "1.3.6.1.5.5.7.3.8":
		return "timeStamping"
	case "1.3.6.1.5.5.7.3.9":
		return "OCSPSigning"
	}
	return oid
}

func (v *extensionsView) readBasicConstraints(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	b := &basicConstraintsView{}
	if !ok || body.PeekASN1Tag(cbasn1.BOOLEAN) && !body.ReadASN1Boolean(&b.CA) {
		return false
	}
	if body.PeekASN1Tag(cbasn1.INTEGER) {
		b.PathLenConstraint = new(int64)
		if !body.ReadASN1Integer(b.PathLenConstraint) {
			return false
		}
	}
	v.BasicConstraints = b
	return body.Empty()
}

func (v *extensionsView) readSubjectAltName(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	if !ok {
		return false
	}
	v.SubjectAltName, ok = generalNames(body)
	return ok
}

// readNameConstraints reads RFC 5280, Section 4.2.1.10; minimum and maximum,
// which it forbids, are not shown.
func (v *extensionsView) readNameConstraints(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	c := &nameConstraintsView{}
	for tag, into := range []*[]string{&c.Permitted, &c.Excluded} {
		var subtrees cryptobyte.String
		var present bool
		if !ok || !body.ReadOptionalASN1(&subtrees, &present, contextTag(uint8(tag)).Constructed()) {
			return false
		}
		for !subtrees.Empty() {
			var subtree, element cryptobyte.String
			var kind cbasn1.Tag
			if !subtrees.ReadASN1(&subtree, cbasn1.SEQUENCE) || !subtree.ReadAnyASN1(&element, &kind) {
				return false
			}
			*into = append(*into, generalName(kind, element))
		}
	}
	v.NameConstraints = c
	return body.Empty()
}

// readDistributionPoints reads RFC 5280, Section 4.2.1.13.
func (v *extensionsView) readDistributionPoints(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	for ok && !body.Empty() {
		var point, name cryptobyte.String
		var present bool
		if !body.ReadASN1(&point, cbasn1.SEQUENCE) || !point.ReadOptionalASN1(&name, &present, contextTag(0).Constructed()) {
			return false
		}
		if !present {
			v.CRLDistributionPoints = append(v.CRLDistributionPoints, "of another issuer, without a name")
			continue
		}
		read, err := crl.ReadDistributionPointName(name)
		if err != nil {
			return false
		}
		if read.FullName == nil {
			v.CRLDistributionPoints = append(v.CRLDistributionPoints, "relative to the issuer's name: #"+hexText(read.Relative))
		}
		for _, full := range read.FullName {
			names, formed := generalNames(full)
			if !formed {
				return false
			}
			v.CRLDistributionPoints = append(v.CRLDistributionPoints, names...)
		}
	}
	return ok
}

// readAuthorityInfoAccess reads RFC 5280, Section 4.2.2.1.
func (v *extensionsView) readAuthorityInfoAccess(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	for ok && !body.Empty() {
		var access, location cryptobyte.String
		var method asn1.ObjectIdentifier
		var kind cbasn1.Tag
		if !body.ReadASN1(&access, cbasn1.SEQUENCE) || !access.ReadASN1ObjectIdentifier(&method) ||
			!access.ReadAnyASN1(&location, &kind) || !access.Empty() {
			return false
		}
		name := method.String()
		switch name {
		case "1.3.6.1.5.5.7.48.1":
			name = "ocsp"
		case "1.3.6.1.5.5.7.48.2":
			name = "caIssuers"
		}
		v.AuthorityInfoAccess = append(v.AuthorityInfoAccess, fmt.Sprintf("%s %s", name, generalName(kind, location)))
	}
	return ok
}

// readPolicies reads the policies of RFC 5280, Section 4.2.1.4, without their
// qualifiers.
func (v *extensionsView) readPolicies(in cryptobyte.String) bool {
	body, ok := readSequence(in)
	for ok && !body.Empty() {
		var policy cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !body.ReadASN1(&policy, cbasn1.SEQUENCE) || !policy.ReadASN1ObjectIdentifier(&oid) {
			return false
		}
		name := oid.String()
		if name == "2.5.29.32.0" {
			name = "anyPolicy"
		}
		v.CertificatePolicies = append(v.CertificatePolicies, name)
	}
	return ok
}
