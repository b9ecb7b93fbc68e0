package store

import (
	"crypto/sha1" // #nosec: fingerprints that people have
	"encoding/hex"
	"strings"
	"testing"

	"mutual/pki"
)

func TestResolve(t *testing.T) {
	f := newFixture(t)
	alice := f.issue("alice", "")
	der, err := f.DER(t.Context(), alice.Fingerprint)
	f.must(err)
	sha := sha1.Sum(der)
	serial, sha1Text, sha256Text := alice.Serial.String(), hex.EncodeToString(sha[:]), alice.Fingerprint.String()
	colons := func(s string) string {
		var parts []string
		for i := 0; i < len(s); i += 2 {
			parts = append(parts, s[i:i+2])
		}
		return strings.Join(parts, ":")
	}
	for _, row := range []struct{ text, as string }{
		{"alice", "name"}, {"name:alice", "name"},
		{serial, "serial"}, {strings.ToUpper(serial), "serial"}, {colons(serial), "serial"}, {"0x" + serial, "serial"},
		{"serial:" + serial, "serial"}, {"serial:" + colons(serial), "serial"}, {alice.Serial.Big().String(), "serial"},
		{"serial:" + alice.Serial.Big().String(), "serial"},
		{sha1Text, "sha1"}, {colons(sha1Text), "sha1"}, {"sha1:" + sha1Text, "sha1"},
		{sha256Text, "sha256"}, {strings.ToUpper(colons(sha256Text)), "sha256"}, {"sha256:" + sha256Text, "sha256"},
	} {
		got, err := f.Resolve(t.Context(), row.text)
		if err != nil || got.As != row.as || len(got.Certificates) != 1 || got.Certificates[0].Serial != alice.Serial {
			t.Errorf("%q is %+v, %v", row.text, got, err)
		}
		if (got.Identity != nil) != (row.as == "name") {
			t.Errorf("%q has the identity %v", row.text, got.Identity)
		}
	}
	for _, text := range []string{
		"", "bob", "Alice", serial[:31], serial[:8], serial + "00", "00" + sha256Text, sha256Text[:62], "sha1:" + sha256Text,
		"name:" + serial, "serial:alice", "sha256:" + serial, "-1", "a\nb", "*", "alice ", strings.Repeat("9", 200),
	} {
		_, err := f.Resolve(t.Context(), text)
		wantError(t, err, ErrNotFound, "is not in the inventory")
	}
}

// Two readings that name different certificates are refused, and both are
// listed; a prefix chooses.
func TestAmbiguous(t *testing.T) {
	f := newFixture(t)
	alice := f.issue("alice", "")
	serial := alice.Serial.String()
	other := f.issue(serial, "")
	_, err := f.Resolve(t.Context(), serial)
	ambiguous, ok := err.(*AmbiguousError)
	if !ok || len(ambiguous.Readings) != 2 {
		t.Fatal(err)
	}
	want := `"` + serial + `" is ambiguous: as a name it is ` + serial + ", serial " + other.Serial.String() + "; as a serial it is alice, serial " + serial
	if err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
	for text, want := range map[string]pki.Serial{"name:" + serial: other.Serial, "serial:" + serial: alice.Serial} {
		if got, err := f.Resolve(t.Context(), text); err != nil || got.Certificates[0].Serial != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
}

func TestNames(t *testing.T) {
	f := newFixture(t)
	for _, n := range []string{"dev-2", "dev-1", "alice", "dev%"} {
		f.issue(n, "")
	}
	got, err := f.Names(t.Context(), "dev", 2)
	f.must(err)
	if text := strings.Join(got, " "); text != "dev% dev-1" {
		t.Errorf("the names are %q", text)
	}
}
