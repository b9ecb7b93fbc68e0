package commands_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// TestProfileOfCertificates checks what no linter sees, for it looks at one
// certificate without its issuer and without knowing what was asked for.
func TestProfileOfCertificates(t *testing.T) {
	t.Parallel()
	for _, keyType := range []string{"p256", "rsa2048"} {
		t.Run(keyType, func(t *testing.T) {
			t.Parallel()
			s := sign(t, newInteropPKI(t, "--key-type", keyType), "p256", "rsa2048", "ed25519")
			root, issuing := readCertificates(t, s.p.file("root.crt"))[0], readCertificates(t, s.p.file("issuing.crt"))[0]
			checkCA(t, root, root, -1)
			checkCA(t, issuing, root, 0)
			serials := map[string]bool{}
			for _, leaf := range s.leaves {
				chain := readCertificates(t, leaf.chain)
				if len(chain) != 2 || !chain[1].Equal(issuing) {
					t.Errorf("%s is not the leaf and its issuer", leaf.chain)
				}
				checkLeaf(t, chain[0], issuing, leaf)
				serials[chain[0].SerialNumber.String()] = true
			}
			if len(serials) != len(s.leaves) {
				t.Errorf("%d certificates have %d serial numbers", len(s.leaves), len(serials))
			}
		})
	}
}

func checkCA(t *testing.T, ca, issuer *x509.Certificate, pathLen int) {
	t.Helper()
	checkAny(t, ca, issuer)
	want := []string{"keyUsage critical", "basicConstraints critical", "subjectKeyIdentifier"}
	if ca != issuer {
		want = append(want, "authorityKeyIdentifier")
	}
	checkExtensions(t, ca, want)
	if ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !ca.IsCA || ca.MaxPathLen != pathLen {
		t.Errorf("%s: key usage %b, CA %t, path length %d", ca.Subject, ca.KeyUsage, ca.IsCA, ca.MaxPathLen)
	}
}

func checkLeaf(t *testing.T, cert, issuer *x509.Certificate, asked signedLeaf) {
	t.Helper()
	checkAny(t, cert, issuer)
	extensions := []string{"keyUsage critical", "extKeyUsage", "basicConstraints critical", "subjectKeyIdentifier", "authorityKeyIdentifier"}
	switch {
	case asked.commonName == "":
		extensions = append(extensions, "subjectAltName critical")
	case asked.san != nil:
		extensions = append(extensions, "subjectAltName")
	}
	checkExtensions(t, cert, extensions)

	usage, purpose := x509.KeyUsageDigitalSignature, x509.ExtKeyUsageClientAuth
	if asked.kind == "server" {
		purpose = x509.ExtKeyUsageServerAuth
		if _, ok := cert.PublicKey.(*rsa.PublicKey); ok {
			usage |= x509.KeyUsageKeyEncipherment
		}
	}
	if cert.KeyUsage != usage || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{purpose}) || cert.UnknownExtKeyUsage != nil || cert.IsCA {
		t.Errorf("%s: key usage %b, want %b; extended %v %v, want %v; CA %t",
			asked.chain, cert.KeyUsage, usage, cert.ExtKeyUsage, cert.UnknownExtKeyUsage, purpose, cert.IsCA)
	}
	if cert.Subject.CommonName != asked.commonName || !slices.Equal(alternativeNames(cert), asked.san) {
		t.Errorf("%s: named %q %q, want %q %q", asked.chain, cert.Subject.CommonName, alternativeNames(cert), asked.commonName, asked.san)
	}
}

// checkAny is what holds for CAs and leaves alike.
func checkAny(t *testing.T, cert, issuer *x509.Certificate) {
	t.Helper()
	if cert.NotAfter.After(issuer.NotAfter) || cert.NotBefore.Before(issuer.NotBefore) {
		t.Errorf("%s is valid from %s to %s, and its issuer from %s to %s", cert.Subject, cert.NotBefore, cert.NotAfter, issuer.NotBefore, issuer.NotAfter)
	}
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		t.Errorf("%s: the issuer's name is another: %s", cert.Subject, cert.Issuer)
	}
	if b := cert.SerialNumber.Bytes(); len(b) != 16 || b[0]&0xc0 != 0x40 {
		t.Errorf("%s: the serial number %x is not one of 16 octets from 40 to 7f", cert.Subject, b)
	}
	if !bytes.Equal(cert.SubjectKeyId, keyIdentifier(t, cert)) {
		t.Errorf("%s: the subject key identifier is %x, want %x", cert.Subject, cert.SubjectKeyId, keyIdentifier(t, cert))
	}
	if cert == issuer {
		return
	}
	for _, e := range cert.Extensions {
		if e.Id.String() == "2.5.29.35" && !bytes.Equal(e.Value, keyIDOnly(issuer.SubjectKeyId)) {
			t.Errorf("%s: the authority key identifier is %x, want only the issuer's %x", cert.Subject, e.Value, issuer.SubjectKeyId)
		}
	}
}

// keyIdentifier is method 1 of RFC 7093, Section 2.
func keyIdentifier(t *testing.T, cert *x509.Certificate) []byte {
	t.Helper()
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &info); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20]
}

// keyIDOnly is an authority key identifier with a keyIdentifier and without
// issuer and serial number: with those, renewing the CA breaks every leaf.
func keyIDOnly(id []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(id) })
	})
	return b.BytesOrPanic()
}

var extensionNames = map[string]string{
	"2.5.29.14": "subjectKeyIdentifier", "2.5.29.15": "keyUsage", "2.5.29.17": "subjectAltName",
	"2.5.29.19": "basicConstraints", "2.5.29.35": "authorityKeyIdentifier", "2.5.29.37": "extKeyUsage",
}

// checkExtensions: exactly these extensions, and of them these critical.
func checkExtensions(t *testing.T, cert *x509.Certificate, want []string) {
	t.Helper()
	var got []string
	for _, e := range cert.Extensions {
		name := extensionNames[e.Id.String()]
		if name == "" {
			name = e.Id.String()
		}
		if e.Critical {
			name += " critical"
		}
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the extensions are %q, want %q", cert.Subject, got, want)
	}
}

func alternativeNames(cert *x509.Certificate) (names []string) {
	for _, v := range cert.DNSNames {
		names = append(names, "dns:"+v)
	}
	for _, v := range cert.IPAddresses {
		names = append(names, "ip:"+v.String())
	}
	for _, v := range cert.EmailAddresses {
		names = append(names, "email:"+v)
	}
	for _, v := range cert.URIs {
		names = append(names, "uri:"+v.String())
	}
	return names
}

// TestProfileOfLists checks the lists of a PKI one after the other: numbers
// grow, thisUpdate never goes back and is never newer than a minute ago, no
// entry is younger than its list, and the file for servers holds both lists,
// the issuing CA's first.
func TestProfileOfLists(t *testing.T) {
	t.Parallel()
	p := newInteropPKI(t)
	s := sign(t, p, "p256")
	for range 12 { // a burst: the seconds do not suffice
		p.issue("client", "burst", "--force")
		p.run("revoke", "burst")
		p.run("allow", "burst")
		s.keepLists(fmt.Sprintf("burst%d", len(s.lists)))
	}
	root, issuing := readCertificates(t, p.file("root.crt"))[0], readCertificates(t, p.file("issuing.crt"))[0]
	var last [2]*x509.RevocationList
	for i, path := range s.lists {
		list, ca := readLists(t, path)[0], []*x509.Certificate{issuing, root}[i%2]
		checkList(t, path, list, ca)
		if before := last[i%2]; before != nil {
			checkSuccession(t, path, before, list)
		}
		last[i%2] = list
	}
	if n := len(last[0].RevokedCertificateEntries); n != 6+12 {
		t.Errorf("the last list has %d entries, want 6 for the reasons and 12 for the burst", n)
	}
	if days := time.Until(last[0].NextUpdate).Hours() / 24; days < 29.9 || days > 30 {
		t.Errorf("the issuing CA's list lasts %.1f days, want 30", days)
	}
	if days := time.Until(last[1].NextUpdate).Hours() / 24; days < 364.9 || days > 366 {
		t.Errorf("the root's list lasts %.1f days, want a year", days)
	}
	chain := readLists(t, p.crls())
	if len(chain) != 2 || !bytes.Equal(chain[0].Raw, last[0].Raw) || !bytes.Equal(chain[1].Raw, last[1].Raw) {
		t.Errorf("%s is not the issuing CA's list and then the root's", p.crls())
	}
}

func checkList(t *testing.T, path string, list *x509.RevocationList, ca *x509.Certificate) {
	t.Helper()
	if err := list.CheckSignatureFrom(ca); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	var extensions []string
	for _, e := range list.Extensions {
		extensions = append(extensions, fmt.Sprintf("%s %t", e.Id, e.Critical))
		if e.Id.String() == "2.5.29.35" && !bytes.Equal(e.Value, keyIDOnly(ca.SubjectKeyId)) {
			t.Errorf("%s: the authority key identifier is %x", path, e.Value)
		}
	}
	if slices.Sort(extensions); strings.Join(extensions, ", ") != "2.5.29.20 false, 2.5.29.35 false" {
		t.Errorf("%s: the extensions are %q", path, extensions)
	}
	if list.ThisUpdate.After(time.Now().Add(-time.Minute)) {
		t.Errorf("%s: thisUpdate %s is less than a minute ago", path, list.ThisUpdate)
	}
	previous := new(big.Int)
	for _, e := range list.RevokedCertificateEntries {
		if e.RevocationTime.After(list.ThisUpdate) {
			t.Errorf("%s: the entry of %s is later than the list of %s", path, e.RevocationTime, list.ThisUpdate)
		}
		if e.SerialNumber.Cmp(previous) <= 0 {
			t.Errorf("%s: the entries are not in the order of their serial numbers", path)
		}
		previous = e.SerialNumber
		if e.ReasonCode == 0 && len(e.Extensions) != 0 {
			t.Errorf("%s: an entry without a reason has extensions", path)
		}
	}
}

// checkSuccession: the later list of a CA, which may be the same.
func checkSuccession(t *testing.T, path string, before, list *x509.RevocationList) {
	t.Helper()
	if bytes.Equal(before.Raw, list.Raw) {
		return
	}
	if list.Number.Cmp(before.Number) <= 0 {
		t.Errorf("%s: number %s follows %s", path, list.Number, before.Number)
	}
	if list.ThisUpdate.Before(before.ThisUpdate) {
		t.Errorf("%s: thisUpdate %s follows %s", path, list.ThisUpdate, before.ThisUpdate)
	}
	for _, e := range before.RevokedCertificateEntries {
		i := slices.IndexFunc(list.RevokedCertificateEntries, func(now x509.RevocationListEntry) bool {
			return now.SerialNumber.Cmp(e.SerialNumber) == 0
		})
		if i >= 0 && !list.RevokedCertificateEntries[i].RevocationTime.Equal(e.RevocationTime) {
			t.Errorf("%s: the date of %x has changed", path, e.SerialNumber)
		}
	}
}
