package store

import (
	"sync"
	"testing"

	"mutual/pki"
)

// Acts on the CAs at the same time queue, each where the one before has given
// every key its name: no key is lost.
func TestRekeysAtOnce(t *testing.T) {
	f := newFixture(t)
	const acts = 5
	var wait sync.WaitGroup
	for range acts {
		p, err := Open(t.Context(), f.dir, f.options())
		f.must(err)
		wait.Go(func() {
			defer func() { _ = p.Close() }() // everything is durable
			if _, err := p.RenewCA(t.Context(), CARenewal{Role: pki.KindIssuing, TTL: lifetime("5y"), Rekey: &Rekey{}}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	f.reopen()
	rows, err := caRows(t.Context(), f.db)
	f.must(err)
	issuing := 0
	for _, row := range rows {
		if _, err := f.load(row, ""); err != nil {
			t.Errorf("%s: %v", row, err)
		}
		if row.role == pki.KindIssuing {
			issuing++
		}
	}
	if issuing != acts+1 {
		t.Errorf("there are %d issuing CAs, want %d", issuing, acts+1)
	}
	_, err = f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
}

// Who looks while CAs come finds each with its certificate and its list, as they
// were at one moment.
func TestLookBesideRekeys(t *testing.T) {
	f := newFixture(t)
	p, err := Open(t.Context(), f.dir, f.options())
	f.must(err)
	defer func() { _ = p.Close() }() // everything is durable
	rekeyed := make(chan error, 1)
	go func() {
		for range 20 {
			if _, err := p.RenewCA(t.Context(), CARenewal{Role: pki.KindIssuing, TTL: lifetime("5y"), Rekey: &Rekey{}}); err != nil {
				rekeyed <- err
				return
			}
		}
		close(rekeyed)
	}()
	for {
		select {
		case err := <-rekeyed:
			f.must(err)
			return
		default:
		}
		if _, err := f.CRLs(t.Context()); err != nil {
			t.Error(err)
		}
		cas, err := f.CAs(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, ca := range cas {
			if ca.State == CAOut {
				t.Errorf("the CA %s %s is in use, and shown as %s", ca.Role, ca.Key, ca.State)
			}
		}
	}
}

// A change of the passphrase beside a rekey loses no key either.
func TestPassphraseBesideRekey(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it derives many keys from passphrases")
	}
	f := newFixture(t)
	p, err := Open(t.Context(), f.dir, f.options())
	f.must(err)
	var wait sync.WaitGroup
	wait.Go(func() {
		defer func() { _ = p.Close() }() // everything is durable
		// Whichever comes second may find keys that it cannot open; what it
		// then leaves is whole.
		_, _ = p.RenewCA(t.Context(), CARenewal{Role: pki.KindIssuing, TTL: lifetime("5y"), Rekey: &Rekey{}})
	})
	secret := []byte("a passphrase")
	_, err = f.ChangePassphrase(t.Context(), PassphraseChange{New: func() ([]byte, error) { return secret, nil }})
	f.must(err)
	wait.Wait()
	options := f.options()
	options.Passphrase = func() ([]byte, error) { return secret, nil }
	again, err := Open(t.Context(), f.dir, options)
	f.must(err)
	defer func() { _ = again.Close() }() // only read
	rows, err := caRows(t.Context(), again.db)
	f.must(err)
	for _, row := range rows {
		if _, err := again.load(row, ""); err != nil {
			t.Errorf("%s: %v", row, err)
		}
	}
}
