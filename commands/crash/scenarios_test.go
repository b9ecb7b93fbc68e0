//go:build linux && amd64

package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mutual/pki"
	"mutual/pki/store"
)

// scenario is a command that is killed, or starved, at every call.
type scenario struct {
	name    string
	prepare func(*world) // beyond the PKI that every scenario has
	bare    bool         // there is no PKI before
	pki     string       // the PKI that the command makes; empty: the one that is there
	args    []string
	undoes  string // the name whose revocation it may end
	// apart: --force replaces key and certificate by a rename each. Between the
	// two the key is the new one; its certificate is in the inventory, and
	// mutual show NAME --pem writes it.
	apart bool
	needs string // a flag of its command, without which it is left out
	slow  bool   // it derives many keys from passphrases: a third of the kills

	// next is what somebody does then: each must succeed (or end with 3), and
	// leaves nothing hidden beside the certificates.
	next [][]string
	// done says what is missing once the command has said that it is done.
	done func(w *world, after *state) error
}

// standard is the PKI that the scenarios begin with: alice is valid, bob
// revoked, carol held.
func (w *world) standard() {
	w.mutual("init", "--publish", w.path("srv"))
	for _, name := range []string{"alice", "bob", "carol"} {
		w.mutual("issue", "client", name, "--out", "certs")
	}
	w.mutual("issue", "server", "web.example.com", "--out", "certs", "--bundle")
	w.mutual("revoke", "bob", "--reason", "keyCompromise")
	w.mutual("hold", "carol")
}

func scenarios() []scenario {
	return []scenario{
		{name: "init", bare: true, pki: "pki", args: []string{"init", "--publish", "srv"}, done: isThere("pki/mutual.db", "srv/crl/chain.pem")},
		{name: "init, root's key elsewhere", bare: true, pki: "pki", args: []string{"init", "--root-key-out", "root.key"}, done: isThere("pki/mutual.db", "root.key")},
		{name: "issue", args: []string{"issue", "client", "dave", "--out", "new"}, done: all(has("dave", store.Valid), isThere("new/dave.key", "new/dave.crt"))},
		{name: "issue --force", apart: true, args: []string{"issue", "client", "alice", "--out", "certs", "--force"}, done: has("alice", store.Valid)},
		{name: "issue --format", args: []string{"issue", "client", "dave", "--out", "new", "--format", "p12", "--bundle"},
			done: all(has("dave", store.Valid), isThere("new/dave.p12", "new/dave.pem"))},
		{name: "issue --batch", needs: "--batch", prepare: func(w *world) {
			text := "name\n"
			for i := range 20 {
				text += fmt.Sprintf("dev-%d\n", i)
			}
			w.write("batch.csv", text)
		}, args: []string{"issue", "client", "--batch", "batch.csv", "--out", "devices"}, done: has("dev-19", store.Valid)},
		{name: "sign", prepare: func(w *world) { w.request("dave.csr", "dave") }, args: []string{"sign", "dave.csr", "--as", "client", "--out", "new"},
			done: all(has("dave", store.Valid), isThere("new/dave.crt"))},
		{name: "renew", args: []string{"renew", "alice", "--grace", "0"}, done: has("alice", store.Valid),
			next: [][]string{{"renew", "alice"}}},
		{name: "renew --due", prepare: func(w *world) {
			day := func(n int) string { return time.Now().AddDate(0, 0, n).UTC().Format(time.RFC3339) }
			for _, name := range []string{"dave", "erin"} {
				w.mutual("issue", "client", name, "--out", "certs", "--not-before", day(-80), "--not-after", day(3), "--allow-expired")
			}
		}, args: []string{"renew", "--due"}, done: all(has("dave", store.Valid), has("erin", store.Valid))},
		{name: "revoke", args: []string{"revoke", "alice", "web.example.com"}, done: all(has("alice", store.Revoked), listed("alice"), listed("web.example.com"))},
		{name: "hold", args: []string{"hold", "alice"}, done: all(has("alice", store.Held), listed("alice"))},
		{name: "unhold", args: []string{"unhold", "carol"}, undoes: "carol", done: all(has("carol", store.Valid), unlisted("carol"))},
		{name: "allow", args: []string{"allow", "bob"}, done: has("bob", store.Revoked)},
		{name: "ca renew root", args: []string{"ca", "renew", "root"}},
		{name: "ca renew issuing", args: []string{"ca", "renew", "issuing"}},
		{name: "ca renew root --rekey", args: []string{"ca", "renew", "root", "--rekey"}},
		{name: "ca renew issuing --rekey", args: []string{"ca", "renew", "issuing", "--rekey"}},
		{name: "ca passphrase", slow: true, prepare: func(w *world) { w.write("next", "correct horse\n") }, args: []string{"ca", "passphrase", "--new-passphrase-file", "next"},
			next: [][]string{{"ca", "passphrase", "--passphrase-file", "next", "--new-passphrase-file", "next"}, {"ca", "renew", "issuing", "--rekey", "--passphrase-file", "next"}}},
		{name: "ca retire", prepare: func(w *world) { w.mutual("ca", "renew", "issuing", "--rekey") }, args: []string{"ca", "retire", "issuing", "--force"}},
		{name: "backup", args: []string{"backup", "b"}, done: isThere("b"),
			next: [][]string{{"backup", "--force", "b"}, {"restore", "b", "--pki", "again"}}},
		{name: "backup --force", prepare: func(w *world) { w.mutual("backup", "b"); w.mutual("crl", "refresh") }, args: []string{"backup", "--force", "b"}, done: isThere("b"),
			next: [][]string{{"restore", "b", "--pki", "again"}, {"backup", "--force", "b"}}},
		{name: "restore", pki: "r", prepare: func(w *world) { w.mutual("backup", "b"); w.mutual("revoke", "alice") },
			args: []string{"restore", "b", "--pki", "r", "--compare", "pki"}, done: all(isThere("r/mutual.db"), has("alice", store.Revoked)),
			next: [][]string{{"restore", "b", "--pki", "again", "--compare", "pki"}}},
		{name: "crl refresh", args: []string{"crl", "refresh"}},
		{name: "crl publish", prepare: func(w *world) { w.must(os.RemoveAll(w.path("srv"))) }, args: []string{"crl", "publish"}, done: isThere("srv/crl/chain.pem", "srv/ca.crt")},
		{name: "config publish", args: []string{"config", "publish", "@srv2"}, done: isThere("srv2/crl/chain.pem", "srv2/ca.crt")},
		{name: "config ttl", args: []string{"config", "ttl", "30d"}},
		{name: "export", args: []string{"export", "alice", "--key", "certs/alice.key", "--out", "alice.p12"}, done: isThere("alice.p12")},
		{name: "import", prepare: func(w *world) { w.mutual("export", "alice", "--key", "certs/alice.key", "--out", "alice.p12") },
			args: []string{"import", "alice.p12", "--out", "imported"}, done: isThere("imported/alice.key", "imported/alice.crt")},
		{name: "repair", prepare: func(w *world) {
			for _, name := range []string{"pki/ca.crt", "pki/crl/issuing.crl", "pki/crl/issuing.pem", "srv/crl/issuing.crl"} {
				w.must(os.Remove(w.path(name)))
			}
			w.write("pki/crl/.issuing.crl.0123456789abcdef.tmp", "x")
		}, args: []string{"repair"}, done: isThere("pki/ca.crt", "pki/crl/issuing.crl", "srv/crl/issuing.pem")},
		{name: "repair --from", prepare: func(w *world) {
			w.mutual("backup", "b")
			w.mutual("issue", "client", "dave", "--out", "unknown")
			w.must(os.RemoveAll(w.path("pki")))
			w.mutual("restore", "b")
			w.mutual("crl", "publish")
		}, args: []string{"repair", "--from", "unknown"}, done: has("dave", store.Valid)},
		{name: "migration", bare: true, prepare: func(w *world) {
			w.must(copyTree("../../testdata/pki-v2", w.path("pki")))
			w.must(os.Chmod(w.path("pki"), 0o700))
			entries, err := os.ReadDir(w.path("pki"))
			w.must(err)
			for _, e := range entries {
				if !e.IsDir() {
					w.must(os.Chmod(w.path("pki/"+e.Name()), 0o600))
				}
			}
		}, args: []string{"issue", "client", "zoe", "--out", "new"}, done: has("zoe", store.Valid)},
	}
}

// args gives the command line in a world.
func (s scenario) line(w *world) []string {
	out := []string{"--json"}
	for _, a := range s.args {
		if rest, ok := strings.CutPrefix(a, "@"); ok {
			a = w.path(rest)
		}
		out = append(out, a)
	}
	return out
}

// world prepares the scenario's.
func (s scenario) world(w *world) {
	if !s.bare {
		w.standard()
	}
	if s.prepare != nil {
		s.prepare(w)
	}
}

// place is the PKI that the command is about.
func (s scenario) place() string {
	if s.pki != "" {
		return s.pki
	}
	return "pki"
}

func all(checks ...func(*world, *state) error) func(*world, *state) error {
	return func(w *world, after *state) error {
		for _, check := range checks {
			if err := check(w, after); err != nil {
				return err
			}
		}
		return nil
	}
}

func isThere(names ...string) func(*world, *state) error {
	return func(w *world, _ *state) error {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(w.dir, name)); err != nil {
				return err
			}
		}
		return nil
	}
}

// has: an identity has a certificate in that state.
func has(name string, want store.State) func(*world, *state) error {
	return func(_ *world, after *state) error {
		for _, c := range after.certs {
			if c.Name.String() == name && c.State(time.Now()) == want {
				return nil
			}
		}
		return fmt.Errorf("%s has no certificate that is %s", name, want)
	}
}

func listed(name string) func(*world, *state) error {
	return func(_ *world, after *state) error { return after.onList(name, true) }
}

func unlisted(name string) func(*world, *state) error {
	return func(_ *world, after *state) error { return after.onList(name, false) }
}

func (s *state) onList(name string, want bool) error {
	for _, c := range s.certs {
		if c.Name.String() == name && s.listed[pki.Fingerprint(c.Fingerprint)] != want {
			return fmt.Errorf("%s is on the list in the file: %v", name, !want)
		}
	}
	return nil
}
