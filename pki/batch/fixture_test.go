package batch_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/batch"
	"mutual/pki/keys"
	"mutual/pki/pkitest"
	"mutual/pki/store"
)

// newPKI makes a PKI whose clock stands.
func newPKI(t testing.TB) *store.PKI {
	t.Helper()
	req := store.InitRequest{
		Name: "Acme", RootTTL: pkitest.MustLifetime(t, "10y"), IssuingTTL: pkitest.MustLifetime(t, "5y"), KeyType: keys.P256,
		Settings: store.Settings{TTL: pkitest.MustLifetime(t, "90d"), CRLTTL: pkitest.MustLifetime(t, "30d"),
			RootCRLTTL: pkitest.MustLifetime(t, "1y"), KeyType: keys.P256, Test: true},
	}
	p, err := store.Init(t.Context(), filepath.Join(t.TempDir(), "pki"), req, store.Options{Now: func() time.Time { return pkitest.Now() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // nothing is read after the test
	return p
}

func clients() batch.Options {
	return batch.Options{Defaults: store.IssueRequest{Kind: pki.KindClient}}
}

// devices is CSV with rows for that many clients.
func devices(n int) string {
	var b strings.Builder
	b.WriteString("name,email\n")
	for i := range n {
		fmt.Fprintf(&b, "dev-%07d,dev-%07d@example.com\n", i, i)
	}
	return b.String()
}

func newInput(t testing.TB, text string) *batch.Input {
	t.Helper()
	in, err := batch.NewInput(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return in
}
