package pki_test

import (
	"encoding/json"
	"strings"
	"testing"

	"mutual/pki"
)

// The codes of RFC 5280, Section 5.3.1.
func TestReason(t *testing.T) {
	names := map[string]pki.Reason{
		"unspecified": 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4,
		"cessationOfOperation": 5, "certificateHold": 6, "removeFromCRL": 8, "privilegeWithdrawn": 9, "aACompromise": 10,
	}
	for name, code := range names {
		for _, text := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
			if r, err := pki.ParseReason(text); err != nil || r != code {
				t.Errorf("%q = %v, %v, want %d", text, r, err, code)
			}
		}
		if code.String() != name || !code.Valid() {
			t.Errorf("%d is %s, valid: %v", code, code, code.Valid())
		}
		if ca := name == "cACompromise" || name == "aACompromise"; code.ForCAOnly() != ca {
			t.Errorf("%s is for CAs only: %v", name, code.ForCAOnly())
		}
		b, err := json.Marshal(code)
		if want := `"` + name + `"`; err != nil || string(b) != want {
			t.Errorf("JSON %s, %v, want %s", b, err, want)
		}
	}
	for code := range 256 {
		r := pki.Reason(code)
		if _, assigned := names[r.String()]; assigned != r.Valid() {
			t.Errorf("code %d is %s, valid: %v", code, r, r.Valid())
		}
	}
	if got := pki.Reason(7).String(); got != "reason 7" {
		t.Errorf("code 7 is %q", got)
	}
	for _, r := range pki.EndEntityReasons() {
		if r.ForCAOnly() || r == pki.CertificateHold || r == pki.RemoveFromCRL {
			t.Errorf("%s is offered for an end entity", r)
		}
	}
}

func TestReasonRefused(t *testing.T) {
	for _, text := range []string{"", "1", "7", "reason 7", "key compromise", "keyCompromise ", "key-compromise", "lost", "\x00"} {
		t.Run(text, func(t *testing.T) {
			_, err := pki.ParseReason(text)
			wantError(t, err, "is no revocation reason")
		})
	}
}

func FuzzReason(f *testing.F) {
	f.Add("keycompromise")
	f.Add("")
	f.Add("reason 7")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := pki.ParseReason(text)
		if err != nil {
			return
		}
		if again, err := pki.ParseReason(r.String()); err != nil || again != r || !r.Valid() {
			t.Errorf("%q is %s, read again %v, %v", text, r, again, err)
		}
	})
}
