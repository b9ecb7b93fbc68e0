package bundle_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/pkitest/tools"
)

// run runs a program in a directory of its own and gives what it printed.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// wantMatches fails unless the pattern occurs exactly so often.
func wantMatches(t *testing.T, out, pattern string, want int) {
	t.Helper()
	if got := len(regexp.MustCompile(pattern).FindAllString(out, -1)); got != want {
		t.Errorf("%q occurs %d times, want %d, in\n%s", pattern, got, want, out)
	}
}

// put writes alice in a format to a file.
func put(t *testing.T, dir, file string, o bundle.Options) string {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, encode(t, o), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bothSchemes runs a test on a PKCS#12 of each kind.
func bothSchemes(t *testing.T, test func(t *testing.T, dir, file string)) {
	for label, legacy := range map[string]bool{"modern": false, "legacy": true} {
		t.Run(label, func(t *testing.T) {
			dir := t.TempDir()
			test(t, dir, put(t, dir, "alice.p12", bundle.Options{Format: bundle.PKCS12, Legacy: legacy}))
		})
	}
}

func TestOpenSSLReads(t *testing.T) {
	openssl := tools.Need(t, "openssl")
	bothSchemes(t, func(t *testing.T, dir, file string) { // without -legacy
		out := run(t, dir, openssl, "pkcs12", "-in", file, "-passin", "pass:"+password, "-nodes")
		wantMatches(t, out, `friendlyName: alice@example\.com\n`, 2)
		wantMatches(t, out, `localKeyID: `, 2)
		wantMatches(t, out, `BEGIN CERTIFICATE`, 2)
		wantMatches(t, out, `BEGIN PRIVATE KEY`, 1)
	})
	dir := t.TempDir()
	p7b := run(t, dir, openssl, "pkcs7", "-in", put(t, dir, "alice.p7b", bundle.Options{Format: bundle.PKCS7}), "-print_certs", "-noout")
	wantMatches(t, p7b, `(?s)subject=CN = alice@example\.com.*subject=CN = TEST issuing CA`, 1)
	der := run(t, dir, openssl, "x509", "-inform", "der", "-in", put(t, dir, "alice.der", bundle.Options{Format: bundle.DER}), "-noout", "-subject")
	wantMatches(t, der, `CN = alice@example\.com`, 1)
	pem := put(t, dir, "alice.pem", bundle.Options{Format: bundle.PEM})
	wantMatches(t, run(t, dir, openssl, "pkey", "-in", pem, "-noout", "-check"), `Key is valid`, 1)
}

func TestJavaReads(t *testing.T) {
	keytool := tools.Need(t, "keytool")
	t.Parallel()
	list := func(t *testing.T, dir, file string) {
		out := run(t, dir, keytool, "-list", "-v", "-keystore", file, "-storepass", password)
		wantMatches(t, out, `Alias name: alice@example\.com\n`, 1)
		wantMatches(t, out, `Entry type: PrivateKeyEntry\n`, 1)
		wantMatches(t, out, `Certificate chain length: 2\n`, 1)
	}
	bothSchemes(t, func(t *testing.T, dir, file string) {
		list(t, dir, file)
		// Copying takes the key out with the password.
		copied := filepath.Join(dir, "copy.p12")
		run(t, dir, keytool, "-importkeystore", "-srckeystore", file, "-srcstorepass", password,
			"-destkeystore", copied, "-deststoretype", "pkcs12", "-deststorepass", "another")
		readBack(t, copied, "another")
	})
	t.Run("jks", func(t *testing.T) {
		dir := t.TempDir()
		file := put(t, dir, "alice.jks", bundle.Options{Format: bundle.JKS})
		list(t, dir, file)
		copied := filepath.Join(dir, "copy.jks")
		run(t, dir, keytool, "-importkeystore", "-srckeystore", file, "-srcstorepass", password,
			"-destkeystore", copied, "-deststoretype", "jks", "-deststorepass", "another", "-destkeypass", "another")
		readBack(t, copied, "another")
	})
	t.Run("p7b", func(t *testing.T) {
		dir := t.TempDir()
		out := run(t, dir, keytool, "-printcert", "-file", put(t, dir, "alice.p7b", bundle.Options{Format: bundle.PKCS7}))
		wantMatches(t, out, `Owner: CN=(alice@example\.com|TEST issuing CA)\n`, 2)
	})
	t.Run("der", func(t *testing.T) {
		dir := t.TempDir()
		out := run(t, dir, keytool, "-printcert", "-file", put(t, dir, "alice.der", bundle.Options{Format: bundle.DER}))
		wantMatches(t, out, `Owner: CN=alice@example\.com\n`, 1)
	})
}

// readBack decodes a file that a program made of alice.
func readBack(t *testing.T, file, password string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id, err := bundle.Decode(data, func() ([]byte, error) { return []byte(password), nil })
	if err != nil {
		t.Fatal(err)
	}
	wantIdentity(t, id, name)
}

func TestNSSReads(t *testing.T) {
	pk12util, certutil := tools.Need(t, "pk12util", "certutil"), tools.Need(t, "certutil")
	t.Parallel()
	bothSchemes(t, func(t *testing.T, dir, file string) {
		out := run(t, dir, pk12util, "-l", file, "-W", password)
		wantMatches(t, out, `Friendly Name: alice@example\.com`, 2)
		db := "sql:" + t.TempDir()
		run(t, dir, certutil, "-N", "-d", db, "--empty-password")
		run(t, dir, pk12util, "-i", file, "-W", password, "-d", db)
		wantMatches(t, run(t, dir, certutil, "-L", "-d", db), `(?m)^alice@example\.com +u,u,u`, 1)
		written := filepath.Join(dir, "nss.p12")
		run(t, dir, pk12util, "-o", written, "-n", name, "-W", "another", "-d", db)
		readBack(t, written, "another")
	})
	t.Run("der", func(t *testing.T) {
		dir, db := t.TempDir(), "sql:"+t.TempDir()
		run(t, dir, certutil, "-N", "-d", db, "--empty-password")
		run(t, dir, certutil, "-A", "-d", db, "-n", name, "-t", ",,", "-i", put(t, dir, "alice.der", bundle.Options{Format: bundle.DER}))
		wantMatches(t, run(t, dir, certutil, "-L", "-d", db, "-n", name), `Subject: "CN=alice@example\.com"`, 1)
	})
}

func TestGnuTLSReads(t *testing.T) {
	certtool := tools.Need(t, "certtool")
	t.Parallel()
	bothSchemes(t, func(t *testing.T, dir, file string) {
		out := run(t, dir, certtool, "--p12-info", "--inder", "--infile", file, "--password", password)
		wantMatches(t, out, `Friendly name: alice@example\.com`, 2)
		wantMatches(t, out, `BEGIN CERTIFICATE`, 2)
		wantMatches(t, out, `BEGIN (ENCRYPTED )?PRIVATE KEY`, 1)
	})
	dir := t.TempDir()
	out := run(t, dir, certtool, "--p7-info", "--infile", put(t, dir, "alice.p7b", bundle.Options{Format: bundle.PKCS7}))
	wantMatches(t, out, `BEGIN CERTIFICATE`, 2)
	der := put(t, dir, "alice.der", bundle.Options{Format: bundle.DER})
	wantMatches(t, run(t, dir, certtool, "--certificate-info", "--inder", "--infile", der), `Subject: CN=alice@example\.com\n`, 1)
	pem := put(t, dir, "alice.pem", bundle.Options{Format: bundle.PEM})
	wantMatches(t, run(t, dir, certtool, "--certificate-info", "--infile", pem), `Subject: CN=(alice@example\.com|TEST issuing CA)\n`, 2)
	wantMatches(t, run(t, dir, certtool, "--key-info", "--infile", pem), `Public Key ID:`, 1)
}

// TestProgramsWrite reads what the programs make of a key and certificates in
// PEM.
func TestProgramsWrite(t *testing.T) {
	t.Parallel()
	id := alice(t)
	dir := t.TempDir()
	der, err := keys.MarshalPKCS8(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "key.pem", string(pemfile.EncodeKey(der)),
		"leaf.pem", string(pemfile.EncodeCertificates(id.Chain[0])), "ca.pem", string(pemfile.EncodeCertificates(id.Chain[1])))
	openssl := []string{"openssl", "pkcs12", "-export", "-inkey", "key.pem", "-in", "leaf.pem", "-certfile", "ca.pem", "-name", name, "-passout", "pass:" + password, "-out"}
	gnutls := []string{"certtool", "--to-p12", "--load-privkey", "key.pem", "--load-certificate", "leaf.pem", "--load-ca-certificate", "ca.pem", "--p12-name", name, "--password", password, "--outfile"}
	for file, command := range map[string][]string{
		"openssl.p12":        openssl,
		"openssl-legacy.p12": append([]string{"openssl", "pkcs12", "-legacy"}, openssl[2:]...),
		"openssl-aes128.p12": append([]string{"openssl", "pkcs12", "-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC", "-macalg", "sha512"}, openssl[2:]...),
		"gnutls.pem":         gnutls,
		"gnutls.p12":         append([]string{"certtool", "--outder"}, gnutls[1:]...),
		"gnutls-3des.p12":    append([]string{"certtool", "--outder", "--pkcs-cipher", "3des-pkcs12"}, gnutls[1:]...),
	} {
		t.Run(file, func(t *testing.T) {
			program := tools.Need(t, command[0])
			run(t, dir, program, append(append([]string{}, command[1:]...), file)...)
			readBack(t, filepath.Join(dir, file), password)
		})
	}
}

// door is a server on loopback that greets whoever shows alice's certificate.
func door(t *testing.T) (port string) {
	t.Helper()
	id := alice(t)
	anchors := x509.NewCertPool()
	anchors.AddCert(id.Chain[1])
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("hello " + r.TLS.PeerCertificates[0].Subject.CommonName))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: anchors, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// nodeClient shows a PKCS#12 or, without a password, what a PEM file holds.
const nodeClient = `const [file, password, port] = process.argv.slice(1);
const data = require("fs").readFileSync(file);
require("https").get({host: "127.0.0.1", port, rejectUnauthorized: false,
	...(password ? {pfx: data, passphrase: password} : {key: data, cert: data})},
	(r) => r.on("data", (d) => process.stdout.write(d)));`

func TestNodeReads(t *testing.T) {
	node := tools.Need(t, "node")
	port := door(t)
	bothSchemes(t, func(t *testing.T, dir, file string) {
		wantMatches(t, run(t, dir, node, "-e", nodeClient, file, password, port), `^hello alice@example\.com$`, 1)
	})
	dir := t.TempDir()
	pem := put(t, dir, "alice.pem", bundle.Options{Format: bundle.PEM})
	wantMatches(t, run(t, dir, node, "-e", nodeClient, pem, "", port), `^hello alice@example\.com$`, 1)
}

const pythonClient = `import ssl, sys, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain(sys.argv[1])
https = urllib.request.HTTPSHandler(context=context)
print(urllib.request.build_opener(urllib.request.ProxyHandler({}), https).open("https://127.0.0.1:" + sys.argv[2], timeout=20).read().decode(), end="")`

func TestPythonReads(t *testing.T) {
	python := tools.Need(t, "python3")
	dir := t.TempDir()
	file := put(t, dir, "alice.pem", bundle.Options{Format: bundle.PEM})
	wantMatches(t, run(t, dir, python, "-c", pythonClient, file, door(t)), `^hello alice@example\.com$`, 1)
}

const pythonReader = `import sys
from cryptography.hazmat.primitives.serialization import pkcs12
p = pkcs12.load_pkcs12(open(sys.argv[1], "rb").read(), sys.argv[2].encode())
assert p.key.public_key() == p.cert.certificate.public_key()
print(p.cert.friendly_name.decode(), p.cert.certificate.subject.rfc4514_string(), len(p.additional_certs))`

// pythonWith gives a Python that has a package: the first of the path or the
// system's.
func pythonWith(t *testing.T, module string) string {
	t.Helper()
	for _, python := range []string{tools.Need(t, "python3"), "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import "+module).Run() == nil {
			return python
		}
	}
	tools.Absent(t, "missing: the package "+module+" of Python")
	return ""
}

// TestPythonReadsPKCS12 needs the package cryptography: Python itself reads no
// PKCS#12.
func TestPythonReadsPKCS12(t *testing.T) {
	python := pythonWith(t, "cryptography")
	bothSchemes(t, func(t *testing.T, dir, file string) {
		wantMatches(t, run(t, dir, python, "-c", pythonReader, file, password), `^alice@example\.com CN=alice@example\.com 1\n$`, 1)
	})
}

// TestKubectlReads needs no cluster. kubectl is not in Debian, so its absence
// is no failure where programs are required.
func TestKubectlReads(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil || testing.Short() {
		t.Skip("missing programs: kubectl")
	}
	dir := t.TempDir()
	file := put(t, dir, "alice.yaml", bundle.Options{Format: bundle.Kubernetes})
	out := run(t, dir, kubectl, "label", "--local", "-f", file, "seen=yes", "-o", "json")
	for _, want := range []string{`"type": "kubernetes.io/tls"`, `"name": "alice-example.com"`, `"seen": "yes"`, `"tls.crt"`, `"tls.key"`, `"ca.crt"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}
