package commands

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"mutual/commands/ui"
)

// extensionsView is what the extensions of a certificate say, or what a
// request asks for, in the words of RFC 5280, Section 4.2.
type extensionsView struct {
	SubjectAltName        []string              `json:"subjectAltName,omitempty"`
	KeyUsage              []string              `json:"keyUsage,omitempty"`
	ExtKeyUsage           []string              `json:"extKeyUsage,omitempty"`
	BasicConstraints      *basicConstraintsView `json:"basicConstraints,omitempty"`
	NameConstraints       *nameConstraintsView  `json:"nameConstraints,omitempty"`
	SubjectKeyID          string                `json:"subjectKeyIdentifier,omitempty"`
	AuthorityKeyID        string                `json:"authorityKeyIdentifier,omitempty"`
	CRLDistributionPoints []string              `json:"crlDistributionPoints,omitempty"`
	AuthorityInfoAccess   []string              `json:"authorityInfoAccess,omitempty"`
	CertificatePolicies   []string              `json:"certificatePolicies,omitempty"`
	Other                 []extensionView       `json:"otherExtensions,omitempty"`
	Critical              []string              `json:"critical"` // which are critical, by name or object identifier
}

type basicConstraintsView struct {
	CA                bool   `json:"cA"`
	PathLenConstraint *int64 `json:"pathLenConstraint,omitempty"`
}

type nameConstraintsView struct {
	Permitted []string `json:"permittedSubtrees,omitempty"`
	Excluded  []string `json:"excludedSubtrees,omitempty"`
}

// extensionView is an extension that is not known here, or is not what its
// standard says.
type extensionView struct {
	OID       string `json:"oid"`
	Critical  bool   `json:"critical"`
	Octets    int    `json:"octets"`
	Malformed bool   `json:"malformed,omitempty"`
}

// extensionReader reads the value of one kind of extension into a view and
// reports whether it is well formed.
type extensionReader struct {
	oid, name string
	read      func(*extensionsView, cryptobyte.String) bool
}

func extensionReaders() []extensionReader {
	return []extensionReader{
		{"2.5.29.14", "subjectKeyIdentifier", (*extensionsView).readSubjectKeyID},
		{"2.5.29.15", "keyUsage", (*extensionsView).readKeyUsage},
		{"2.5.29.17", "subjectAltName", (*extensionsView).readSubjectAltName},
		{"2.5.29.19", "basicConstraints", (*extensionsView).readBasicConstraints},
		{"2.5.29.30", "nameConstraints", (*extensionsView).readNameConstraints},
		{"2.5.29.31", "crlDistributionPoints", (*extensionsView).readDistributionPoints},
		{"2.5.29.32", "certificatePolicies", (*extensionsView).readPolicies},
		{"2.5.29.35", "authorityKeyIdentifier", (*extensionsView).readAuthorityKeyID},
		{"2.5.29.37", "extKeyUsage", (*extensionsView).readExtKeyUsage},
		{"1.3.6.1.5.5.7.1.1", "authorityInfoAccess", (*extensionsView).readAuthorityInfoAccess},
	}
}

func newExtensionsView(extensions []pkix.Extension) extensionsView {
	v := extensionsView{Critical: []string{}}
	readers := extensionReaders()
	for _, e := range extensions {
		oid := e.Id.String()
		name, known, formed := oid, false, false
		for _, r := range readers {
			if r.oid != oid {
				continue
			}
			with := v // a malformed one leaves nothing behind
			name, known, formed = r.name, true, r.read(&with, cryptobyte.String(e.Value))
			if formed {
				v = with
			}
		}
		if e.Critical {
			v.Critical = append(v.Critical, name)
		}
		if !formed {
			v.Other = append(v.Other, extensionView{OID: oid, Critical: e.Critical, Octets: len(e.Value), Malformed: known})
		}
	}
	return v
}

func (v *extensionsView) nameFields() []ui.Field {
	return []ui.Field{field(v.title("names", "subjectAltName"), v.SubjectAltName...)}
}

func (v *extensionsView) fields() []ui.Field {
	fields := []ui.Field{
		field(v.title("key usage", "keyUsage"), strings.Join(v.KeyUsage, ", ")),
		field(v.title("extended key usage", "extKeyUsage"), strings.Join(v.ExtKeyUsage, ", ")),
		field(v.title("basic constraints", "basicConstraints"), v.BasicConstraints.words()),
	}
	if c := v.NameConstraints; c != nil {
		title := v.title("name constraints", "nameConstraints")
		fields = append(fields, field(title+", permitted", c.Permitted...), field(title+", excluded", c.Excluded...))
	}
	fields = append(fields,
		styled(ui.Serial, v.title("subject key identifier", "subjectKeyIdentifier"), v.SubjectKeyID),
		styled(ui.Serial, v.title("authority key identifier", "authorityKeyIdentifier"), v.AuthorityKeyID),
		field(v.title("CRL distribution points", "crlDistributionPoints"), v.CRLDistributionPoints...),
		field(v.title("authority info access", "authorityInfoAccess"), v.AuthorityInfoAccess...),
		field(v.title("certificate policies", "certificatePolicies"), v.CertificatePolicies...),
	)
	var other []string
	for _, e := range v.Other {
		other = append(other, e.words())
	}
	return append(fields, field("other extensions", other...))
}

// title marks the extensions that are critical.
func (v *extensionsView) title(words, name string) string {
	if slices.Contains(v.Critical, name) {
		return words + " (critical)"
	}
	return words
}

func (b *basicConstraintsView) words() string {
	switch {
	case b == nil:
		return ""
	case !b.CA && b.PathLenConstraint == nil:
		return "no CA"
	case !b.CA:
		return fmt.Sprintf("no CA, with a path length of %d", *b.PathLenConstraint)
	case b.PathLenConstraint == nil:
		return "CA, any path length"
	}
	return fmt.Sprintf("CA, path length %d", *b.PathLenConstraint)
}

func (e *extensionView) words() string {
	text := fmt.Sprintf("%s, %d octets", e.OID, e.Octets)
	if e.Critical {
		text += " (critical)"
	}
	if e.Malformed {
		text += ", malformed"
	}
	return text
}
