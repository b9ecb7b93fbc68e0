// Package pkitest is what the tests of several packages share: the keys of
// testdata, a fixed time, and a root and an issuing CA made of them. Only
// tests import it.
package pkitest

import (
	"crypto"
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/pemfile"
	"mutual/pki/profile"
)

// Now is the time at which the fixtures are made.
func Now() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

// Root returns the directory of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod in or above the working directory")
		}
		dir = parent
	}
}

// Key returns a private key of testdata/keys by its file's name without .pem:
// root-p256, issuing-p256, leaf-p256, p384, rsa1024 …
func Key(t testing.TB, name string) crypto.Signer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Root(t), "testdata", "keys", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pemfile.Key(data, nil)
	if err != nil {
		t.Fatalf("the key %s: %v", name, err)
	}
	return key
}

// Serial makes a serial number of 16 octets that ends with n.
func Serial(n uint32) pki.Serial {
	return pki.NewSerial(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(0x4d), 120), big.NewInt(int64(n))))
}

// MustLifetime is pki.ParseLifetime.
func MustLifetime(t testing.TB, s string) pki.Lifetime {
	t.Helper()
	l, err := pki.ParseLifetime(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// MustName is pki.ParseName.
func MustName(t testing.TB, s string, kind pki.Kind) pki.Name {
	t.Helper()
	n, err := pki.ParseName(s, kind)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Ledger is an authority.Ledger in memory. Fail, where it is set, is what the
// method of that name returns.
type Ledger struct {
	Reserved, Completed []authority.Record
	Fail                map[string]error
}

var _ authority.Ledger = (*Ledger)(nil)

// Reserve implements authority.Ledger.
func (l *Ledger) Reserve(r authority.Record) error {
	if err := l.Fail["Reserve"]; err != nil {
		return err
	}
	l.Reserved = append(l.Reserved, r)
	return nil
}

// Complete implements authority.Ledger.
func (l *Ledger) Complete(r authority.Record, _ []byte) error {
	if err := l.Fail["Complete"]; err != nil {
		return err
	}
	l.Completed = append(l.Completed, r)
	return nil
}

// Config says how a hierarchy differs from the usual one.
type Config struct {
	RootKey, IssuingKey string // default root-p256, issuing-p256
	RootTTL, IssuingTTL string // default 10y, 5y
	Constraints         profile.Constraints
}

// Hierarchy is a root and an issuing CA, made at Now. Serial 1 is the root's
// and 2 the issuing CA's.
type Hierarchy struct{ Root, Issuing *authority.CA }

// NewHierarchy makes one. The same Config gives the same octets.
func NewHierarchy(t testing.TB, c Config) *Hierarchy {
	t.Helper()
	rootKey, issuingKey := Key(t, or(c.RootKey, "root-p256")), Key(t, or(c.IssuingKey, "issuing-p256"))
	prepared, err := authority.PrepareRoot(profile.Request{
		Kind: pki.KindRoot, Subject: profile.Subject{CommonName: "Test Root CA"}, PublicKey: rootKey.Public(),
		Validity: validity(t, pki.KindRoot, or(c.RootTTL, "10y"), nil),
	}, rootKey, authority.Subject{Serial: Serial(1)}, Now())
	h := &Hierarchy{Root: ca(t, prepared, err, rootKey)}
	root := h.Root.Certificate()
	prepared, err = h.Root.Prepare(profile.Request{
		Kind: pki.KindIssuing, Subject: profile.Subject{CommonName: "Test Issuing CA"}, PublicKey: issuingKey.Public(),
		Validity: validity(t, pki.KindIssuing, or(c.IssuingTTL, "5y"), root), Constraints: c.Constraints,
	}, authority.Subject{Serial: Serial(2)}, Now())
	h.Issuing = ca(t, prepared, err, issuingKey)
	return h
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func validity(t testing.TB, kind pki.Kind, ttl string, issuer *x509.Certificate) profile.Validity {
	t.Helper()
	v, err := profile.Window{TTL: MustLifetime(t, ttl)}.Resolve(kind, issuer, Now())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ca(t testing.TB, prepared *authority.Prepared, err error, key crypto.Signer) *authority.CA {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := prepared.Issue(&Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := authority.NewCA(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Request is what is asked for a leaf: NAME with what it stands for, the key
// leaf-p256, and the lifetime. A test changes it as it likes.
func (h *Hierarchy) Request(t testing.TB, kind pki.Kind, name, ttl string) profile.Request {
	t.Helper()
	commonName, san, err := profile.Identify(kind, MustName(t, name, kind))
	if err != nil {
		t.Fatal(err)
	}
	return profile.Request{
		Kind: kind, Subject: profile.Subject{CommonName: commonName}, SAN: san, PublicKey: Key(t, "leaf-p256").Public(),
		Validity: validity(t, kind, ttl, h.Issuing.Certificate()),
	}
}

// Leaf issues a request under the serial.
func (h *Hierarchy) Leaf(t testing.TB, req profile.Request, name string, serial pki.Serial) *x509.Certificate {
	t.Helper()
	prepared, err := h.Issuing.Prepare(req, authority.Subject{Name: MustName(t, name, req.Kind), Serial: serial}, Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := prepared.Issue(&Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// IssueCRL signs the CRL that follows the last one, with every revoked certificate
// that still belongs there.
func IssueCRL(ca *authority.CA, revoked []authority.Revoked, last authority.LastCRL, lifetime pki.Lifetime, now time.Time) (*authority.CRL, error) {
	d, err := ca.DraftCRL(last, lifetime, now, len(revoked))
	if err != nil {
		return nil, err
	}
	for _, r := range revoked {
		if err := d.Put(r); err != nil {
			return nil, err
		}
	}
	return d.Issue(nil)
}
