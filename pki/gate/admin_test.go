package gate

import (
	"crypto"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

func pemOf(t *testing.T, cert tls.Certificate) (chain, key []byte) {
	t.Helper()
	der, err := keys.MarshalPKCS8(cert.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return pemfile.EncodeCertificates(cert.Leaf), pemfile.EncodeKey(der)
}

// What operators ask: numbers, whether it runs, and whether it lets somebody in.
func TestAdmin(t *testing.T) {
	f := newFixture(t, options{})
	alice := f.issue(pki.KindClient, "alice")
	f.wantIn(alice)
	f.liveConn(alice)
	f.wantOut(nil)
	f.revoke(alice, pki.KeyCompromise)
	f.await("the refusal", func(e entry) bool { return e.Code == string(CodeNoCertificate) })
	admin := httptest.NewServer(f.gate.Admin())
	defer admin.Close()
	ask := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get(admin.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	_, text := ask("/metrics")
	for _, want := range []string{
		"mutual_gate_connections ", "mutual_gate_epoch 1\n", `mutual_gate_handshakes_total{result="ok"} 2` + "\n", `mutual_gate_handshakes_total{result="noCertificate"} 1` + "\n",
		`mutual_gate_requests_total{status="2xx"} 2` + "\n", `mutual_gate_cuts_total{code="revoked"} `, `mutual_gate_request_duration_seconds_bucket{le="+Inf"} 2` + "\n",
		"mutual_gate_request_duration_seconds_count 2\n", "# TYPE mutual_gate_request_duration_seconds histogram\n", "mutual_gate_source_age_seconds ", "mutual_gate_log_dropped_lines 0\n",
		"mutual_gate_server_certificate_not_after_seconds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, text := ask(path); status != http.StatusOK || text != "ok\n" {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
	f.stop()
	if status, text := ask("/readyz"); status != http.StatusServiceUnavailable || !strings.HasPrefix(text, "shutdown: ") {
		t.Errorf("after the end: %d %q", status, text)
	}
}
