package pki_test

import (
	"encoding/json"
	"testing"

	"mutual/pki"
)

func TestFingerprint(t *testing.T) {
	// The SHA-256 of "abc", FIPS 180-4.
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	f := pki.FingerprintOf([]byte("abc"))
	if f.String() != want {
		t.Errorf("%s, want %s", f, want)
	}
	if b, err := json.Marshal(f); err != nil || string(b) != `"`+want+`"` {
		t.Errorf("JSON %s, %v", b, err)
	}
	if f != pki.FingerprintOf([]byte("abc")) || f == pki.FingerprintOf([]byte("abd")) {
		t.Error("fingerprints do not compare")
	}
}

func TestKind(t *testing.T) {
	for kind, ca := range map[pki.Kind]bool{pki.KindRoot: true, pki.KindIssuing: true, pki.KindClient: false, pki.KindServer: false, pki.KindProbe: false} {
		if got, err := pki.ParseKind(string(kind)); err != nil || got != kind || got.IsCA() != ca {
			t.Errorf("%s: %v, %v, a CA: %v", kind, got, err, got.IsCA())
		}
	}
	for _, text := range []string{"", "Client", "leaf", "ca"} {
		_, err := pki.ParseKind(text)
		wantError(t, err, "is no kind of certificate: root, issuing, cross, client, server or probe")
	}
}
