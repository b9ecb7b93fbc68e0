package store

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
)

// offlinePKI is a PKI without the root's key, and the machine that has it.
func offlinePKI(t *testing.T) (online, offline *fixture) {
	t.Helper()
	offline = newFixture(t)
	offline.issue("alice", "")
	online = copyFixture(offline)
	online.must(os.Remove(filepath.Join(online.dir, "root.key")))
	online.reopen()
	online.must(os.Remove(filepath.Join(offline.dir, "issuing.key")))
	offline.reopen()
	return online, offline
}

func (f *fixture) request(how *Rekey) *x509.CertificateRequest {
	f.t.Helper()
	made, err := f.RequestCA(f.t.Context(), CARequest{Rekey: how})
	f.must(err)
	csr, err := pemfile.Request(made.PEM)
	f.must(err)
	return csr
}

func (f *fixture) sign(csr *x509.CertificateRequest) *x509.Certificate {
	f.t.Helper()
	done, err := f.SignCA(f.t.Context(), csr, CASigning{Window: profile.Window{TTL: lifetime("6y")}})
	f.must(err)
	return done.Certificate
}

// The root's key stays where it is: a request goes there, an answer comes
// back, for the key in use and for a new one.
func TestOfflineRoot(t *testing.T) {
	online, offline := offlinePKI(t)
	ctx := t.Context()
	before, err := online.CACertificate(ctx, pki.KindIssuing)
	online.must(err)
	_, err = online.tryRenew(pki.KindIssuing, "5y")
	wantError(t, err, ErrNoKey, "root.key is not there")
	_, err = online.SignCA(ctx, online.request(nil), CASigning{Window: profile.Window{TTL: lifetime("5y")}})
	wantError(t, err, ErrNoKey, "root.key is not there")

	renewed := offline.sign(online.request(nil))
	done, err := online.InstallCA(ctx, renewed, nil)
	online.must(err)
	if done.Rekeyed || done.Verified != 1 || !keys.Equal(renewed.PublicKey, before.PublicKey) {
		t.Errorf("rekeyed %t, %d verified", done.Rekeyed, done.Verified)
	}
	online.unchanged(func() error {
		again, err := online.InstallCA(ctx, renewed, nil)
		if again.Certificate != nil {
			t.Error("it was installed again")
		}
		if err == nil {
			return ErrExists // what unchanged wants to see
		}
		return err
	}, ErrExists, "")

	csr := online.request(&Rekey{KeyType: keys.P384})
	cas, err := online.CAs(ctx)
	online.must(err)
	if last := cas[len(cas)-1]; last.State != CARequested || last.KeyFile == "" {
		t.Errorf("the key that waits is %+v", last)
	}
	next := offline.sign(csr)
	done, err = online.InstallCA(ctx, next, nil)
	online.must(err)
	if !done.Rekeyed || next.Subject.String() != "CN="+csr.Subject.CommonName {
		t.Errorf("rekeyed %t, %s instead of %s", done.Rekeyed, next.Subject, csr.Subject.CommonName)
	}
	online.reopen()
	bob := online.issue("bob", "")
	if !online.verifies(bob) || string(bob.IssuerKeyID) != string(next.SubjectKeyId) {
		t.Error("bob's certificate is not the new CA's")
	}
	if _, _, err := online.VerifyJournal(ctx, nil); err != nil {
		t.Error(err)
	}
	if _, _, err := offline.VerifyJournal(ctx, nil); err != nil {
		t.Error(err)
	}
}

// Where key and root are in one place, the three steps work as well.
func TestRequestSignInstallInOnePlace(t *testing.T) {
	f := newFixture(t)
	next := f.sign(f.request(&Rekey{}))
	if got := f.list(Filter{Kind: pki.KindIssuing}); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
	_, err := f.InstallCA(t.Context(), next, nil)
	f.must(err)
	if now, err := f.CACertificate(t.Context(), pki.KindIssuing); err != nil || !now.Equal(next) {
		t.Errorf("the issuing CA is %s, %v", now.Subject, err)
	}
}

// foreign makes the certificate of an issuing CA by hand.
func foreign(t *testing.T, root *authority.CA, rootKey string, change func(*x509.Certificate), key any) *x509.Certificate {
	t.Helper()
	data := read(t, rootKey)
	signer, err := pemfile.Key(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := authority.NewSerial(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.KeyID(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial.Big(), NotBefore: start().Add(-time.Minute), NotAfter: start().AddDate(3, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true, SubjectKeyId: id}
	template.Subject.CommonName = "Foreign CA"
	change(template)
	der, err := x509.CreateCertificate(nil, template, root.Certificate(), key, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// What comes from elsewhere is checked like what is made here.
func TestInstallIsRefused(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.issue("alice", "")
	csr := f.request(&Rekey{})
	root, err := f.caFor(ctx, pki.KindRoot, "")
	f.must(err)
	issuing, err := f.CACertificate(ctx, pki.KindIssuing)
	f.must(err)
	other := newFixture(t)
	otherRoot, err := other.caFor(ctx, pki.KindRoot, "")
	f.must(err)
	for _, tt := range []struct {
		text   string
		by     *fixture
		key    any
		change func(*x509.Certificate)
	}{
		{"for a key that this PKI does not have", f, pkitest.Key(t, "leaf-p256").Public(), func(*x509.Certificate) {}},
		{"it is not signed by a root of this PKI", other, csr.PublicKey, func(*x509.Certificate) {}},
		{"the certificate is not an issuing CA's", f, csr.PublicKey, func(c *x509.Certificate) { c.MaxPathLenZero, c.MaxPathLen = false, 1 }},
		{"the certificate is not a CA's", f, csr.PublicKey, func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }},
		{"key usage is not keyCertSign and cRLSign", f, csr.PublicKey, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature }},
		{"has an extended key usage", f, csr.PublicKey, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }},
		{"subject key identifier is not that of its key", f, csr.PublicKey, func(c *x509.Certificate) { c.SubjectKeyId = []byte("another") }},
		{"outlives its root", f, csr.PublicKey, func(c *x509.Certificate) { c.NotAfter = start().AddDate(30, 0, 0) }},
		{"expired at", f, csr.PublicKey, func(c *x509.Certificate) { c.NotAfter = start().Add(-time.Second) }},
		{"is not valid before", f, csr.PublicKey, func(c *x509.Certificate) { c.NotBefore = start().Add(time.Hour) }},
		{"is that of another CA key", f, csr.PublicKey, func(c *x509.Certificate) { c.Subject = issuing.Subject }},
		{"the CA's name would change", f, issuing.PublicKey, func(*x509.Certificate) {}},
		{"its CA would end before", f, issuing.PublicKey, func(c *x509.Certificate) { c.Subject, c.NotAfter = issuing.Subject, start().AddDate(0, 1, 0) }},
		{"would not verify any more", f, issuing.PublicKey, func(c *x509.Certificate) {
			c.Subject, c.PermittedDNSDomains = issuing.Subject, []string{"example.org"}
		}},
		{"has excluded subtrees", f, csr.PublicKey, func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"example.com"} }},
		{"has the extension 1.2.3.4", f, csr.PublicKey, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{5, 0}}}
		}},
	} {
		by := root
		if tt.by == other {
			by = otherRoot
		}
		if tt.text == "would not verify any more" {
			f.issue("mail.example.com", "")
		}
		cert := foreign(t, by, filepath.Join(tt.by.dir, "root.key"), tt.change, tt.key)
		f.unchanged(func() error { _, err := f.InstallCA(ctx, cert, nil); return err }, nil, tt.text)
	}
}

// rootList makes a list of the root by hand.
func (f *fixture) rootList(change func(*crl.Template)) []byte {
	f.t.Helper()
	root, err := f.CACertificate(f.t.Context(), pki.KindRoot)
	f.must(err)
	signer, err := pemfile.Key(read(f.t, filepath.Join(f.dir, "root.key")), nil)
	f.must(err)
	template := crl.Template{Issuer: root.RawSubject, AuthorityKeyID: root.SubjectKeyId, Number: big.NewInt(f.now.UnixNano()),
		ThisUpdate: f.now.Add(-2 * time.Minute), NextUpdate: f.now.AddDate(1, 0, 0)}
	change(&template)
	der, err := crl.Create(template, signer)
	f.must(err)
	return der
}

// A root's list that was made elsewhere is taken if it is the root's and the
// newest, and brings its revocations along.
func TestInstallRootCRL(t *testing.T) {
	online, offline := offlinePKI(t)
	ctx := t.Context()
	install := func(der []byte) func() error {
		return func() error { _, err := online.InstallCA(ctx, nil, der); return err }
	}
	newest := online.rootCRL()
	for _, f := range []*fixture{online, offline} {
		f.now = f.now.AddDate(0, 6, 15)
	}
	for _, tt := range []struct {
		text   string
		change func(*crl.Template)
	}{
		{"would let revoked certificates back in", func(c *crl.Template) { c.Number = new(big.Int).Sub(newest.Number, big.NewInt(1)) }},
		{"would let revoked certificates back in", func(c *crl.Template) { c.Number = newest.Number }},
		{"the CRL has no number, or none of ours", func(c *crl.Template) { c.Number = new(big.Int).Lsh(big.NewInt(1), 80) }},
		{"the CRL expired at", func(c *crl.Template) { c.ThisUpdate, c.NextUpdate = start(), start().Add(time.Hour) }},
		{"the CRL is from the future", func(c *crl.Template) { c.ThisUpdate = online.now.Add(time.Hour) }},
		{"names another key than the root's", func(c *crl.Template) { c.AuthorityKeyID = make([]byte, 20) }},
		{"it is not signed by a root of this PKI", func(c *crl.Template) { c.Issuer = newFixture(t).mustCA(pki.KindIssuing).RawSubject }},
	} {
		online.unchanged(install(offline.rootList(tt.change)), nil, tt.text)
	}
	foreign := newFixture(t)
	online.unchanged(install(foreign.rootList(func(c *crl.Template) { c.Issuer = online.mustCA(pki.KindRoot).RawSubject })), nil, "not signed")

	lists, err := offline.Refresh(ctx, RefreshRequest{Only: pki.KindRoot})
	offline.must(err)
	online.must(install(read(t, lists[1].Files[0]))())
	if got := online.rootCRL(); got.Number.Cmp(lists[1].Number) != 0 || !got.InPlace || got.Overdue {
		t.Errorf("the root's list is %+v", got)
	}
	online.unchanged(func() error { _ = install(read(t, lists[1].Files[0]))(); return ErrExists }, ErrExists, "")

	// The issuing CA is revoked where the root is.
	f := pki.FingerprintOf(offline.mustCA(pki.KindIssuing).Raw)
	_, err = offline.Revoke(ctx, Selection{CA: true, Certificates: []pki.Fingerprint{f}}, pki.CACompromise, false)
	offline.must(err)
	online.must(install(read(t, lists[1].Files[0]))())
	_, err = online.tryIssue("bob", "")
	wantError(t, err, ErrRevokedCA, "the issuing CA is revoked")
	if l := online.rootCRL(); l.Entries != 1 || l.Overdue {
		t.Errorf("the root's list is %+v", l)
	}
	online.now = online.now.Add(time.Hour)
	offline.now = online.now
	online.unchanged(install(offline.rootList(func(*crl.Template) {})), nil, "which is revoked here")
}

func (f *fixture) rootCRL() Published {
	f.t.Helper()
	lists, err := f.CRLs(f.t.Context())
	f.must(err)
	return lists[len(lists)-1]
}

func (f *fixture) mustCA(role pki.Kind) *x509.Certificate {
	f.t.Helper()
	cert, err := f.CACertificate(f.t.Context(), role)
	f.must(err)
	return cert
}

// A request for a CA's certificate is never answered with a leaf, nor one for
// a leaf with a CA's.
func TestCARequestsAreForCAs(t *testing.T) {
	f := newFixture(t)
	csr := f.request(nil)
	wantError(t, profile.CheckCSR(csr), nil, "the request asks for a CA certificate (CA:TRUE)")
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, pkitest.Key(t, "leaf-p256"))
	f.must(err)
	leaf, err := x509.ParseCertificateRequest(der)
	f.must(err)
	_, err = f.SignCA(t.Context(), leaf, CASigning{Window: profile.Window{TTL: lifetime("1y")}})
	wantError(t, err, nil, "the request asks for the extension 2.5.29.17")
	root, err := pemfile.Key(read(t, filepath.Join(f.dir, "root.key")), nil)
	f.must(err)
	der, err = authority.CreateRequest(root, "Root again")
	f.must(err)
	own, err := x509.ParseCertificateRequest(der)
	f.must(err)
	_, err = f.SignCA(t.Context(), own, CASigning{Window: profile.Window{TTL: lifetime("1y")}})
	wantError(t, err, nil, "the key is the root's")
}
