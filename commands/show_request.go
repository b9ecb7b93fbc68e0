package commands

import (
	"crypto/x509"
	"fmt"
	"slices"

	"mutual/commands/ui"
	"mutual/pki/keys"
)

// requestView is what stands in a certification request (RFC 2986): what it
// asks for, and whether it proves possession of the key.
type requestView struct {
	Subject            string         `json:"subject"`
	PublicKey          keyView        `json:"publicKey"`
	SignatureAlgorithm string         `json:"signatureAlgorithm"`
	Signature          string         `json:"signature"` // good, bad, couldNotTell
	SignatureDetail    string         `json:"signatureDetail,omitempty"`
	Extensions         extensionsView `json:"requestedExtensions"`
}

func newRequestView(der []byte) (*requestView, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate request: %w", err)
	}
	v := &requestView{
		Subject: nameText(csr.RawSubject), PublicKey: newKeyView(csr.PublicKey), Signature: "good",
		SignatureAlgorithm: signatureAlgorithmText(csr.SignatureAlgorithm, csr.Raw),
		Extensions:         newExtensionsView(csr.Extensions),
	}
	// A key that we do not accept is not worked with: its size may be chosen to
	// keep whoever verifies busy.
	if err := keys.CheckPublic(csr.PublicKey); err != nil {
		v.Signature, v.SignatureDetail = "couldNotTell", err.Error()
	} else if err := csr.CheckSignature(); err != nil {
		v.Signature, v.SignatureDetail = "bad", err.Error()
	}
	return v, nil
}

func (v *requestView) fields() []ui.Field {
	signature := map[string]ui.Field{
		"good":         ui.Valid.Field("signature", "good: whoever made it has the key"),
		"bad":          styled(ui.Revoked, "signature", "BAD: "+v.SignatureDetail),
		"couldNotTell": styled(ui.Unknown, "signature", "not checked: "+v.SignatureDetail),
	}[v.Signature]
	return slices.Concat([]ui.Field{field("subject", orEmpty(v.Subject))}, v.Extensions.nameFields(), v.PublicKey.fields(),
		v.Extensions.fields(), []ui.Field{field("signed with", v.SignatureAlgorithm), signature})
}
