package commands

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fieldsFile is the golden file of every field of the JSON output: a promise.
const fieldsFile = "../testdata/json/fields.txt"

// TestJSONFields pins the names of the fields that the commands around the PKI
// print with --json, on a PKI that shows them all.
func TestJSONFields(t *testing.T) {
	dir := t.TempDir()
	pkiDir, out := filepath.Join(dir, "pki"), filepath.Join(dir, "out")
	csr := filepath.Join(dir, "alice.csr")
	writeCSR(t, csr)
	var text strings.Builder
	pin := func(code int, line ...string) {
		t.Helper()
		fields := jsonFields(t, pkiDir, code, line)
		fmt.Fprintf(&text, "mutual %s\n", strings.Join(relative(line, dir), " "))
		for _, field := range fields {
			fmt.Fprintf(&text, "\t%s\n", field)
		}
	}
	pin(exitDone, "init", "--publish", filepath.Join(dir, "pub"))
	pin(exitDone, "issue", "client", "alice", "--out", out, "--label", "Pixel 8", "--bundle", "--ttl", "20y")
	pin(exitDone, "issue", "server", "api.example.com", "--out", out)
	pin(exitDone, "issue", "server", "localhost", "--out", out)
	pin(exitDone, "issue", "client", "past", "--out", out, "--not-after", "2026-01-01", "--allow-expired")
	pin(exitDone, "sign", csr, "--as", "client", "--name", "bob", "--out", out)
	pin(exitDone, "export", "alice", "--key", filepath.Join(out, "alice.key"), "--password-out", filepath.Join(out, "password"), "--out", filepath.Join(out, "alice.p12"))
	pin(exitDone, "export", "api.example.com", "--key", filepath.Join(out, "api.example.com.key"), "--format", "k8s", "--out", filepath.Join(out, "api.yaml"))
	pin(exitDone, "import", filepath.Join(out, "alice.p12"), "--password-file", filepath.Join(out, "password"), "--name", "imported", "--out", out)
	pin(exitDone, "issue", "client", "carol", "--out", out, "--format", "der")
	pin(exitDone, "hold", "bob")
	pin(exitDone, "unhold", "bob")
	pin(exitDone, "revoke", "alice", "--reason", "keyCompromise")
	pin(exitDone, "list", "--all")
	pin(exitDone, "tree")
	pin(exitDone, "revoke", "bob", "--dry-run")
	pin(exitDone, "allow", "alice")
	pin(exitDone, "log")
	pin(exitDone, "log", "--head")
	pin(exitDone, "log", "--verify")
	pin(exitDone, "crl", "show")
	pin(exitDone, "crl", "show", filepath.Join(pkiDir, "crl", "chain.pem"))
	pin(exitDone, "crl", "refresh")
	pin(exitDone, "crl", "refresh", "--print-timer")
	pin(exitDone, "crl", "verify")
	pin(exitDone, "crl", "publish")
	pin(exitDone, "renew", "api.example.com")
	pin(exitDone, "renew", "--due")
	pin(exitDone, "renew", "--forget", "api.example.com")
	pin(exitDone, "config")
	pin(exitDone, "config", "ttl", "30d")
	pin(exitDone, "ca", "request", "--out", filepath.Join(dir, "ca.csr"), "--rekey")
	pin(exitDone, "sign", filepath.Join(dir, "ca.csr"), "--as", "ca", "--out", filepath.Join(dir, "ca"))
	signed, err := filepath.Glob(filepath.Join(dir, "ca", "issuing-*.crt"))
	if err != nil || len(signed) != 1 {
		t.Fatalf("the answer is %v, %v", signed, err)
	}
	answer := filepath.Join(dir, "answer.crt")
	if err := os.Rename(signed[0], answer); err != nil {
		t.Fatal(err)
	}
	pin(exitDone, "ca", "install", answer)
	pin(exitDone, "ca", "renew", "issuing", "--ttl", "20y")
	pin(exitDone, "ca", "renew", "root", "--rekey")
	pin(exitDone, "ca", "retire", "issuing", "--force")
	pin(exitDone, "ca", "show")
	pin(exitDone, "tree")
	pin(exitDone, "ca", "passphrase", "--remove")
	pin(exitDone, "show", "alice")
	pin(exitDone, "show", filepath.Join(out, "api.example.com.crt"))
	pin(exitDone, "show", filepath.Join(out, "api.example.com.key"))
	pin(exitDone, "show", csr)
	pin(exitDone, "show", filepath.Join(pkiDir, "crl", "issuing.crl"))
	pin(exitBad, "verify", filepath.Join(out, "alice.crt"))
	pin(exitUnsure, "verify", filepath.Join(out, "api.example.com.crt"), "--purpose", "server", "--ca", filepath.Join(pkiDir, "ca.crt"))
	target := serveForProbe(t, pkiDir, filepath.Join(out, "localhost"))
	pin(exitDone, "probe", "https://localhost:"+target, "--as", "bob", "--ca", filepath.Join(pkiDir, "root.crt"))
	pin(exitUnsure, "probe", "127.0.0.1:"+closedPort(t))
	pin(exitDone, "demo")
	pin(exitDone, "gate", "test", "--temporary")
	pin(exitDone, "gate", "check", "--allow", "bob", "--as", "bob", "GET", "/")
	pin(exitDone, "--version")
	pin(exitDone, "completion", "bash")
	pin(exitDone, "man")
	if err := os.Remove(filepath.Join(pkiDir, "crl", "chain.pem")); err != nil {
		t.Fatal(err)
	}
	pin(exitBad, "status")
	pin(exitBad, "repair", "--check")
	pin(exitDone, "repair")
	if *update {
		if err := os.MkdirAll(filepath.Dir(fieldsFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fieldsFile, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(fieldsFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := text.String(); got != string(want) {
		t.Errorf("the fields are not those of %s (-update rewrites it):\n%s", fieldsFile, got)
	}
}

// jsonFields runs a command with --json and gives the fields that it prints.
func jsonFields(t *testing.T, pkiDir string, code int, line []string) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := testEnv(map[string]string{"MUTUAL_PKI": pkiDir}, &stdout, &stderr)
	env.Now = ticking(env.Now()) // so that no time that is measured is zero
	words := append(slices.Clone(line), "--json")
	if got := mainWith(t.Context(), words, env, tree()); got != code {
		t.Fatalf("mutual %s: exit code %d\n%s", strings.Join(line, " "), got, stderr.String())
	}
	document, err := jsonDocuments(stdout.String())
	if err != nil {
		t.Fatalf("mutual %s: %v", strings.Join(line, " "), err)
	}
	fields := map[string]bool{}
	addFields(fields, "", document)
	return slices.Sorted(maps.Keys(fields))
}

// ticking is a clock that goes on by a microsecond whenever it is looked at.
func ticking(start time.Time) func() time.Time {
	var looks atomic.Int64
	return func() time.Time { return start.Add(time.Duration(looks.Add(1)) * time.Microsecond) }
}

// addFields adds the path and kind of every value below one.
func addFields(fields map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			addFields(fields, strings.TrimPrefix(path+"."+key, "."), value)
		}
	case []any:
		for _, value := range v {
			addFields(fields, path+"[]", value)
		}
		if len(v) == 0 {
			fields[path+"[]"] = true
		}
	case nil:
		fields[path+" null"] = true
	case string:
		fields[path+" string"] = true
	case bool:
		fields[path+" bool"] = true
	default:
		fields[path+" number"] = true
	}
}

// relative gives a command line without what differs from run to run: the
// test's directory and the ports.
func relative(line []string, dir string) []string {
	port := regexp.MustCompile(`:[0-9]+$`)
	var out []string
	for _, word := range line {
		word = strings.TrimPrefix(word, dir+string(filepath.Separator))
		out = append(out, port.ReplaceAllString(filepath.ToSlash(word), ":PORT"))
	}
	return out
}

// serveForProbe runs an API that requires certificates of the PKI, in the
// time of the tests' clock, and redirects, so that a report has every field.
func serveForProbe(t *testing.T, pkiDir, pair string) (port string) {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(pair+".crt", pair+".key")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := os.ReadFile(filepath.Join(pkiDir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trust)
	server := httptest.NewUnstartedServer(http.RedirectHandler("/login", http.StatusFound))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		Time: testEnv(nil, nil, nil).Now,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err = net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // only its number is wanted
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func writeCSR(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
