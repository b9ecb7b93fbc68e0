package crl

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pkitest/tools"
)

var (
	thisUpdate = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	nextUpdate = thisUpdate.AddDate(0, 0, 30)
)

func fixtureKey(t testing.TB, name string) crypto.Signer {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "keys", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s holds no PEM", name)
	}
	key, err := keys.ParsePKCS8(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newCA makes a self-signed certificate that may sign lists.
func newCA(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	id, err := keys.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{Organization: []string{"Acme"}, CommonName: "Acme Löwe CA"},
		NotBefore:             thisUpdate.AddDate(-1, 0, 0),
		NotAfter:              thisUpdate.AddDate(9, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          id,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func entry(serial int64, reason pki.Reason) Entry {
	return Entry{pki.NewSerial(big.NewInt(serial)), thisUpdate.Add(-time.Duration(serial&0xff) * time.Hour), reason}
}

func templateFor(ca *x509.Certificate, entries ...Entry) Template {
	return Template{
		Issuer: ca.RawSubject, AuthorityKeyID: ca.SubjectKeyId, Number: NextNumber(nil, thisUpdate),
		ThisUpdate: thisUpdate, NextUpdate: nextUpdate, Entries: entries,
	}
}

func mustCreate(t testing.TB, tmpl Template, key crypto.Signer) []byte {
	t.Helper()
	der, err := Create(tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func mustParse(t testing.TB, der []byte) *List {
	t.Helper()
	l, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// manyEntries has every reason, serials of every length and dates on both
// sides of 2050, not sorted.
func manyEntries() []Entry {
	entries := []Entry{}
	for i, reason := range append(pki.EndEntityReasons(), pki.CertificateHold, pki.CACompromise, pki.AACompromise) {
		n := new(big.Int).Lsh(big.NewInt(int64(200-i)), uint(16*i))
		entries = append(entries, Entry{pki.NewSerial(n), thisUpdate.Add(-time.Duration(i) * time.Hour), reason})
	}
	slices.Reverse(entries)
	return entries
}

func x509Template(t Template) *x509.RevocationList {
	out := &x509.RevocationList{Number: t.Number, ThisUpdate: t.ThisUpdate, NextUpdate: t.NextUpdate}
	for _, e := range t.Entries {
		out.RevokedCertificateEntries = append(out.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: e.Serial.Big(), RevocationTime: e.RevocationDate, ReasonCode: int(e.Reason),
		})
	}
	slices.SortFunc(out.RevokedCertificateEntries, func(a, b x509.RevocationListEntry) int {
		return a.SerialNumber.Cmp(b.SerialNumber)
	})
	return out
}

func TestCreateIsX509sOctetForOctet(t *testing.T) {
	late := time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)
	var thousand []Entry
	for i := range int64(1000) {
		thousand = append(thousand, entry((i*7919)%104729+1, pki.KeyCompromise))
	}
	for _, tt := range []struct {
		name, key string
		change    func(*Template)
	}{
		{"empty", "p256", nil},
		{"P-256", "p256", func(t *Template) { t.Entries = manyEntries() }},
		{"P-384", "p384", func(t *Template) { t.Entries = manyEntries() }},
		{"RSA", "rsa2048", func(t *Template) { t.Entries = manyEntries() }},
		{"Ed25519", "ed25519", func(t *Template) { t.Entries = manyEntries() }},
		{"thousand", "p256", func(t *Template) { t.Entries = thousand }},
		{"2049 and 2050", "p256", func(t *Template) { t.ThisUpdate, t.NextUpdate = late, late.Add(time.Second) }},
		{"entry after 2049", "p256", func(t *Template) {
			t.ThisUpdate, t.NextUpdate = late.AddDate(5, 0, 0), late.AddDate(6, 0, 0)
			t.Entries = []Entry{{pki.NewSerial(big.NewInt(5)), late.AddDate(1, 0, 0), pki.Superseded}}
		}},
		{"long number", "p256", func(t *Template) { t.Number = new(big.Int).Lsh(big.NewInt(1), 158) }},
		{"fractions and zones", "p256", func(t *Template) {
			t.ThisUpdate = t.ThisUpdate.Add(5e8).In(time.FixedZone("", 7200))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := tt.key
			if name == "p256" {
				name = "issuing-p256"
			}
			key := fixtureKey(t, name)
			ca := newCA(t, key, nil)
			tmpl := templateFor(ca)
			if tt.change != nil {
				tt.change(&tmpl)
			}
			got := mustCreate(t, tmpl, key)
			want, err := x509.CreateRevocationList(nil, x509Template(tmpl), ca, key)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("Create\n%x\nx509\n%x", got, want)
			}
			l := mustParse(t, got)
			if err := l.CheckSignature(ca); err != nil {
				t.Error(err)
			}
			checkRoundTrip(t, l)
		})
	}
}

// encodeTBS encodes a tbsCertList with the signature algorithm given.
func encodeTBS(t Template, algorithm []byte) ([]byte, error) {
	e, err := NewBuilder(t, 0).layOut(&List{canonical: true, issuer: t.Issuer}, algorithm, &Built{})
	if err != nil {
		return nil, err
	}
	return e.out[e.closeTBS():], nil
}

// checkRoundTrip makes the tbsCertList again from what was parsed.
func checkRoundTrip(t testing.TB, l *List) {
	t.Helper()
	again, err := encodeTBS(templateOf(l), l.algorithm)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, l.tbs) {
		t.Errorf("parsed and encoded again\n%x\nwas\n%x", again, l.tbs)
	}
}

func templateOf(l *List) Template {
	return Template{
		Issuer: l.Issuer(), AuthorityKeyID: l.AuthorityKeyID(), Number: l.Number(),
		ThisUpdate: l.ThisUpdate(), NextUpdate: l.NextUpdate(), Entries: slices.Collect(l.Entries()),
	}
}

func TestCreateRefuses(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	ca := newCA(t, key, nil)
	one := func(e Entry) func(*Template) { return func(t *Template) { t.Entries = []Entry{e} } }
	for _, tt := range []struct {
		name   string
		change func(*Template)
		want   string
	}{
		{"reason 7", one(entry(5, 7)), "the entry of serial 05: reason 7 has no place in a full list"},
		{"reason 8", one(entry(5, pki.RemoveFromCRL)), "the entry of serial 05: removeFromCRL has no place in a full list"},
		{"reason 11", one(entry(5, 11)), "reason 11 has no place"},
		{"duplicate", func(t *Template) {
			t.Entries = []Entry{entry(5, 0), entry(4, 0), entry(5, pki.KeyCompromise)}
		}, "the serial 05 is there twice"},
		{"no serial", one(Entry{RevocationDate: thisUpdate}), "there is no serial"},
		{"no date", one(Entry{Serial: pki.NewSerial(big.NewInt(5))}), "the revocation date: the year 1 is not between"},
		{"date after thisUpdate", one(Entry{Serial: pki.NewSerial(big.NewInt(5)), RevocationDate: thisUpdate.Add(time.Second)}),
			"the revocation date 2026-11-01T12:00:01Z is after thisUpdate 2026-11-01T12:00:00Z"},
		{"no issuer", func(t *Template) { t.Issuer = nil }, "the issuer: the name is no SEQUENCE"},
		{"empty issuer", func(t *Template) { t.Issuer = []byte{0x30, 0} }, "the issuer: the name is empty"},
		{"no key id", func(t *Template) { t.AuthorityKeyID = nil }, "there is no authority key identifier"},
		{"no number", func(t *Template) { t.Number = nil }, "the CRL number must be positive"},
		{"number zero", func(t *Template) { t.Number = new(big.Int) }, "the CRL number must be positive"},
		{"number of 21 octets", func(t *Template) { t.Number = new(big.Int).Lsh(big.NewInt(1), 159) }, "at most 20 octets"},
		{"no thisUpdate", func(t *Template) { t.ThisUpdate = time.Time{} }, "thisUpdate: the year 1 is not"},
		{"year 10000", func(t *Template) { t.NextUpdate = t.NextUpdate.AddDate(8000, 0, 0) }, "nextUpdate: the year 10026 is not"},
		{"no time", func(t *Template) { t.NextUpdate = t.ThisUpdate.Add(999) }, "nextUpdate (2026-11-01T12:00:00Z) is not after thisUpdate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmpl := templateFor(ca)
			tt.change(&tmpl)
			_, err := Create(tmpl, key)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestCreateLeavesTheTemplateAlone(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	tmpl := templateFor(newCA(t, key, nil), entry(9, 0), entry(3, 0))
	mustCreate(t, tmpl, key)
	if tmpl.Entries[0].Serial != entry(9, 0).Serial {
		t.Error("Create sorted the caller's entries")
	}
}

func TestLookup(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	l := mustParse(t, mustCreate(t, templateFor(newCA(t, key, nil), manyEntries()...), key))
	for _, want := range manyEntries() {
		got, ok := l.Lookup(want.Serial)
		if !ok || got != want {
			t.Errorf("Lookup(%s) = %v, %v, want %v", want.Serial, got, ok, want)
		}
	}
	for _, absent := range []pki.Serial{{}, pki.NewSerial(big.NewInt(0)), pki.NewSerial(big.NewInt(-5)),
		pki.NewSerial(big.NewInt(201)), pki.NewSerial(new(big.Int).Lsh(big.NewInt(1), 300))} {
		if _, ok := l.Lookup(absent); ok {
			t.Errorf("Lookup(%s) found it", absent)
		}
	}
	if l.Len() != len(manyEntries()) {
		t.Errorf("Len = %d", l.Len())
	}
}

// Lists of other CAs need not be sorted, hold a serial twice (certstrap) and
// negative ones.
func TestLookupUnsorted(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	ca := newCA(t, key, nil)
	in := x509Template(templateFor(ca))
	for _, e := range []struct{ serial, hours int64 }{{300, 5}, {-1, 1}, {7, 3}, {-300, 1}, {7, 9}, {0, 2}, {7, 4}} {
		in.RevokedCertificateEntries = append(in.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: big.NewInt(e.serial), RevocationTime: thisUpdate.Add(-time.Duration(e.hours) * time.Hour),
		})
	}
	der, err := x509.CreateRevocationList(nil, in, ca, key)
	if err != nil {
		t.Fatal(err)
	}
	l := mustParse(t, der)
	for _, serial := range []int64{300, -1, 7, -300, 0} {
		if _, ok := l.Lookup(pki.NewSerial(big.NewInt(serial))); !ok {
			t.Errorf("Lookup(%d) found nothing", serial)
		}
	}
	e, _ := l.Lookup(pki.NewSerial(big.NewInt(7)))
	if want := thisUpdate.Add(-9 * time.Hour); e.RevocationDate != want {
		t.Errorf("the date of a serial that is there three times is %s, want the earliest, %s", e.RevocationDate, want)
	}
	var order []int64
	for e := range l.Entries() {
		order = append(order, e.Serial.Big().Int64())
	}
	if want := []int64{300, -1, 7, -300, 7, 0, 7}; !slices.Equal(order, want) {
		t.Errorf("Entries = %v, want the order of the list, %v", order, want)
	}
}

func TestCheckSignature(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	ca := newCA(t, key, nil)
	der := mustCreate(t, templateFor(ca, entry(5, 0)), key)
	l := mustParse(t, der)
	noKeyUsage := newCA(t, key, func(c *x509.Certificate) { c.KeyUsage = 0 })
	if err := l.CheckSignature(noKeyUsage); err != nil {
		t.Errorf("a CA without key usage: %v", err)
	}
	flipped := slices.Clone(der)
	flipped[len(flipped)-1] ^= 1
	for _, tt := range []struct {
		name string
		list *List
		ca   *x509.Certificate
		want string
	}{
		{"no cRLSign", l, newCA(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), "no cRLSign"},
		{"other key", l, newCA(t, fixtureKey(t, "root-p256"), nil), "checking the signature of the revocation list: x509: ECDSA verification failure"},
		{"other kind of key", l, newCA(t, fixtureKey(t, "rsa2048"), nil), "checking the signature"},
		{"flipped bit", mustParse(t, flipped), ca, "ECDSA verification failure"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.list.CheckSignature(tt.ca); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// Lists that other CAs sign: every algorithm of crypto/x509 but SHA-1.
func TestCheckSignatureAlgorithms(t *testing.T) {
	for _, tt := range []struct {
		key string
		alg x509.SignatureAlgorithm
		ok  bool
	}{
		{"rsa2048", x509.SHA256WithRSA, true},
		{"rsa2048", x509.SHA384WithRSA, true},
		{"rsa2048", x509.SHA512WithRSA, true},
		{"rsa2048", x509.SHA256WithRSAPSS, true},
		{"rsa2048", x509.SHA384WithRSAPSS, true},
		{"rsa2048", x509.SHA512WithRSAPSS, true},
		{"p384", x509.ECDSAWithSHA256, true},
		{"p384", x509.ECDSAWithSHA512, true},
		{"ed25519", x509.PureEd25519, true},
		{"rsa2048", x509.SHA1WithRSA, false},
		{"p384", x509.ECDSAWithSHA1, false},
	} {
		t.Run(tt.alg.String(), func(t *testing.T) {
			key := fixtureKey(t, tt.key)
			ca := newCA(t, key, nil)
			in := x509Template(templateFor(ca))
			in.SignatureAlgorithm = tt.alg
			der, err := x509.CreateRevocationList(chance{}, in, ca, key)
			if err != nil {
				t.Fatal(err)
			}
			err = mustParse(t, der).CheckSignature(ca)
			if tt.ok && err != nil {
				t.Error(err)
			}
			if !tt.ok && (err == nil || !strings.Contains(err.Error(), "is not supported")) {
				t.Errorf("error %v, want one of the algorithm", err)
			}
		})
	}
}

// chance makes the salt of RSA-PSS: any will do.
type chance struct{}

func (chance) Read(p []byte) (int, error) { return len(p), nil }

func TestOpenSSLReadsOurs(t *testing.T) {
	openssl := tools.Need(t, "openssl")
	for _, name := range []string{"issuing-p256", "p384", "rsa2048", "ed25519"} {
		t.Run(name, func(t *testing.T) {
			key := fixtureKey(t, name)
			ca := newCA(t, key, nil)
			dir := t.TempDir()
			list, cert := filepath.Join(dir, "list.crl"), filepath.Join(dir, "ca.pem")
			writeFile(t, list, mustCreate(t, templateFor(ca, manyEntries()...), key))
			writeFile(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
			out, err := exec.CommandContext(t.Context(), openssl, "crl", "-inform", "DER", "-in", list, "-CAfile", cert, "-noout", "-text").CombinedOutput()
			if err != nil {
				t.Fatalf("openssl: %v\n%s", err, out)
			}
			for _, want := range []string{"verify OK", "Version 2", "Last Update: Nov  1 12:00:00 2026 GMT",
				"Next Update: Dec  1 12:00:00 2026 GMT", "X509v3 CRL Number", "Key Compromise", "Privilege Withdrawn"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("openssl does not say %q:\n%s", want, out)
				}
			}
			if n := strings.Count(string(out), "Serial Number:"); n != len(manyEntries()) {
				t.Errorf("openssl sees %d entries", n)
			}
		})
	}
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
