package renew

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/pkitest"
	"mutual/pki/profile"
	"mutual/pki/store"
)

func options(now func() time.Time) store.Options {
	return store.Options{Now: now, Actor: store.Actor{User: "tester", Host: "host", Process: 7}}
}

// fixture is a PKI and a directory in which pairs lie.
type fixture struct {
	*store.PKI
	t        *testing.T
	dir, out string
	now      time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	base := t.TempDir()
	f := &fixture{t: t, dir: filepath.Join(base, "pki"), out: filepath.Join(base, "out"), now: time.Now().UTC().Truncate(time.Second)}
	life := func(s string) pki.Lifetime { return pkitest.MustLifetime(t, s) }
	var err error
	f.PKI, err = store.Init(t.Context(), f.dir, store.InitRequest{
		Name: "Acme", RootTTL: life("10y"), IssuingTTL: life("5y"), KeyType: keys.P256,
		Settings: store.Settings{TTL: life("90d"), CRLTTL: life("30d"), RootCRLTTL: life("1y"), KeyType: keys.P256, Test: true},
	}, options(f.clock))
	f.must(err)
	t.Cleanup(func() { _ = f.Close() }) // a test may have closed it
	f.must(os.Mkdir(f.out, 0o700))
	return f
}

func (f *fixture) clock() time.Time { return f.now }

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) renewer() *Renewer {
	return &Renewer{PKI: f.PKI, Now: f.clock, Generate: keys.Generate}
}

// issue issues a pair to a client, in the directory.
func (f *fixture) issue(name, ttl string) store.Certificate {
	f.t.Helper()
	key, err := keys.Generate(keys.P256)
	f.must(err)
	der, err := keys.MarshalPKCS8(key)
	f.must(err)
	target := bundle.Target{Dir: f.out, Base: name, WithKey: true, Combined: true}
	pending, err := bundle.Stage(target, pemfile.EncodeKey(der))
	f.must(err)
	issued, err := f.Issue(f.t.Context(), store.IssueRequest{
		Kind: pki.KindClient, Name: pkitest.MustName(f.t, name, pki.KindClient), PublicKey: key.Public(), Place: placeOf(target.Files()),
		Window: profile.Window{TTL: pkitest.MustLifetime(f.t, ttl)},
	})
	f.must(err)
	_, err = pending.Commit(pemfile.EncodeCertificates(issued.Chain...))
	f.must(err)
	return f.lookup(issued.Certificate)
}

func (f *fixture) lookup(cert *x509.Certificate) store.Certificate {
	f.t.Helper()
	c, err := f.Lookup(f.t.Context(), pki.FingerprintOf(cert.Raw))
	f.must(err)
	return c
}

// certificate reads the pair of a name, wants it to match, and gives its
// certificate.
func (f *fixture) certificate(name string) *x509.Certificate {
	f.t.Helper()
	base := filepath.Join(f.out, name)
	p, err := readPair(bundle.Files{Key: base + ".key", Certificate: base + ".crt"})
	f.must(err)
	both, err := readPair(bundle.Files{Combined: base + ".pem"})
	f.must(err)
	if p.keyErr != nil || !keys.Equal(p.key, p.cert.PublicKey) || !keys.Equal(both.key, p.key) || !both.cert.Equal(p.cert) {
		f.t.Fatalf("key and certificate of %s do not match", name)
	}
	return p.cert
}

// wantFiles wants nothing but these names in the directory.
func (f *fixture) wantFiles(names string) {
	f.t.Helper()
	entries, err := os.ReadDir(f.out)
	f.must(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
		if !e.Type().IsRegular() {
			f.t.Errorf("%s is no file", e.Name())
		}
	}
	if strings.Join(got, " ") != names {
		f.t.Errorf("the directory holds %v, want %s", got, names)
	}
}
