package commands

import (
	"crypto/sha1" // a fingerprint that other programs show; nothing is trusted for it
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"mutual/commands/ui"
	"mutual/pki"
)

// x509View is what stands in a certificate, in the words of RFC 5280.
type x509View struct {
	Version            int             `json:"version"`
	Serial             pki.Serial      `json:"serial"`
	Subject            string          `json:"subject"`
	Issuer             string          `json:"issuer"`
	NotBefore          time.Time       `json:"notBefore"`
	NotAfter           time.Time       `json:"notAfter"`
	DaysLeft           int             `json:"daysLeft"`
	PublicKey          keyView         `json:"publicKey"`
	SignatureAlgorithm string          `json:"signatureAlgorithm"`
	Extensions         extensionsView  `json:"extensions"`
	SHA256             pki.Fingerprint `json:"sha256"`
	SHA1               string          `json:"sha1"`
	now                time.Time
}

func (r *run) newX509View(cert *x509.Certificate) *x509View {
	sum := sha1.Sum(cert.Raw)
	return &x509View{
		Version: cert.Version, Serial: pki.NewSerial(cert.SerialNumber),
		Subject: nameText(cert.RawSubject), Issuer: nameText(cert.RawIssuer),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(), DaysLeft: daysLeft(cert.NotAfter, r.now()),
		PublicKey:          newKeyView(cert.PublicKey),
		SignatureAlgorithm: signatureAlgorithmText(cert.SignatureAlgorithm, cert.Raw),
		Extensions:         newExtensionsView(cert.Extensions),
		SHA256:             pki.FingerprintOf(cert.Raw), SHA1: hexText(sum[:]),
		now: r.now(),
	}
}

func (v *x509View) fields() []ui.Field {
	return slices.Concat([]ui.Field{
		field("subject", orEmpty(v.Subject)),
		field("issuer", orEmpty(v.Issuer)),
		styled(ui.Serial, "serial", v.Serial.String()),
		v.validity("valid from", v.NotBefore),
		v.validity("valid until", v.NotAfter),
	}, v.Extensions.nameFields(), v.PublicKey.fields(), v.Extensions.fields(), []ui.Field{
		field("signature", v.SignatureAlgorithm),
		field("version", strconv.Itoa(v.Version)),
		styled(ui.Serial, "SHA-256", v.SHA256.String()),
		styled(ui.Serial, "SHA-1", v.SHA1),
	})
}

// validity shows an end of the validity, and how many days it is away.
func (v *x509View) validity(name string, t time.Time) ui.Field {
	style := ui.Plain
	switch {
	case name == "valid from" && v.now.Before(t):
		style = ui.Expired
	case name == "valid until" && !v.now.Before(t):
		style = ui.Expired
	}
	return style.Field(name, when(t)+" ("+daysAway(t, v.now)+")")
}

// daysAway says how many whole days lie between t and now.
func daysAway(t, now time.Time) string {
	days := int(t.Sub(now).Abs().Hours() / 24)
	text := strconv.Itoa(days) + " days"
	switch days {
	case 0:
		text = "less than a day"
	case 1:
		text = "1 day"
	}
	if t.After(now) {
		return "in " + text
	}
	return text + " ago"
}

// signatureAlgorithmText names a signature algorithm, by its object identifier
// if crypto/x509 does not know it.
func signatureAlgorithmText(a x509.SignatureAlgorithm, signed []byte) string {
	if a != x509.UnknownSignatureAlgorithm {
		return a.String()
	}
	in := cryptobyte.String(signed)
	var whole, algorithm cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&whole, cbasn1.SEQUENCE) || !whole.SkipASN1(cbasn1.SEQUENCE) ||
		!whole.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return "unknown"
	}
	return oid.String()
}

func hexText(b []byte) string { return hex.EncodeToString(b) }
