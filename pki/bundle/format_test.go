package bundle_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

const (
	bundles  = "../../testdata/bundles"
	name     = "alice@example.com"
	password = "secret"
)

// secret gives the password of every file of testdata/bundles.
func secret() ([]byte, error) { return []byte(password), nil }

// readBundle reads a file of testdata/bundles.
func readBundle(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(bundles, file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// alice is what every file of testdata/bundles holds.
func alice(t testing.TB) bundle.Identity {
	t.Helper()
	id, err := bundle.Decode(readBundle(t, "openssl.p12"), secret)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// encode writes alice in a format.
func encode(t testing.TB, o bundle.Options) []byte {
	t.Helper()
	id := alice(t)
	o.Created, o.Anchors = time.Unix(1_800_000_000, 0), id.Chain[1:]
	if o.Format.HasPassword() {
		o.Password = []byte(password)
	}
	data, err := bundle.Encode(id, o)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wantIdentity(t *testing.T, got bundle.Identity, name string) {
	t.Helper()
	want := alice(t)
	if got.Name != name {
		t.Errorf("the name is %q, want %q", got.Name, name)
	}
	if !keys.Equal(got.Key.Public(), want.Key.Public()) {
		t.Error("it is another key")
	}
	if len(got.Chain) != 2 || !got.Chain[0].Equal(want.Chain[0]) || !got.Chain[1].Equal(want.Chain[1]) {
		t.Errorf("it is another chain: %v", got.Chain)
	}
}

func TestEncodeDecode(t *testing.T) {
	for _, test := range []struct {
		label   string
		options bundle.Options
		name    string
	}{
		{"p12", bundle.Options{Format: bundle.PKCS12}, name},
		{"p12 legacy", bundle.Options{Format: bundle.PKCS12, Legacy: true}, name},
		{"jks", bundle.Options{Format: bundle.JKS}, name},
		{"pem", bundle.Options{Format: bundle.PEM}, ""},
	} {
		t.Run(test.label, func(t *testing.T) {
			data := encode(t, test.options)
			got, err := bundle.Decode(data, secret)
			if err != nil {
				t.Fatal(err)
			}
			wantIdentity(t, got, test.name)
			if !test.options.Format.HasPassword() {
				return
			}
			_, err = bundle.Decode(data, func() ([]byte, error) { return []byte("Secret"), nil })
			wantError(t, err, "wrong password, or the file is damaged")
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := alice(t)
	other, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) bundle.Identity {
		return bundle.Identity{Name: name, Key: good.Key, Chain: good.Chain}
	}
	for _, test := range []struct {
		name     string
		id       bundle.Identity
		format   bundle.Format
		password string
		want     string
	}{
		{"another key", bundle.Identity{Key: other, Chain: good.Chain}, bundle.DER, "", "encoding as der: the key does not belong to the certificate"},
		{"no key", bundle.Identity{Chain: good.Chain}, bundle.PEM, "", "encoding as pem: there is no key"},
		{"no certificate", bundle.Identity{Key: good.Key}, bundle.PKCS7, "", "encoding as p7b: there is no certificate"},
		{"no password", good, bundle.PKCS12, "", "encoding as p12: the password is empty"},
		{"non-ASCII password", good, bundle.PKCS12, "pässword", "printable ASCII"},
		{"control character", good, bundle.JKS, "secret\t", "printable ASCII"},
		{"short password", good, bundle.JKS, "12345", "the password has 5 characters, and Java wants 6 for a JKS"},
		{"a name beyond the BMP", named("alice 😀"), bundle.JKS, password, "a character that a JKS cannot hold"},
		{"no format", good, "zip", "", `"zip" is no format`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := bundle.Encode(test.id, bundle.Options{Format: test.format, Password: []byte(test.password)})
			wantError(t, err, test.want)
		})
	}
}

func TestNewPassword(t *testing.T) {
	a, b := bundle.NewPassword(), bundle.NewPassword()
	if bytes.Equal(a, b) || !regexp.MustCompile(`^[A-Z2-7]{20}$`).Match(a) {
		t.Errorf("%q, %q", a, b)
	}
	for _, f := range bundle.Formats() {
		if err := bundle.CheckPassword(f, a); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range bundle.Formats() {
		if got, err := bundle.ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("%s: %v, %v", f, got, err)
		}
	}
	_, err := bundle.ParseFormat("P12")
	wantError(t, err, `"P12" is no format: p12, jks, pem, der, p7b and k8s are`)
}

func TestSecret(t *testing.T) {
	id := alice(t)
	text := string(encode(t, bundle.Options{Format: bundle.Kubernetes}))
	if !strings.HasPrefix(text, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"alice-example.com\"\ntype: kubernetes.io/tls\ndata:\n") {
		t.Errorf("it begins with %q", text)
	}
	for field, want := range map[string][]*x509.Certificate{"tls.crt": id.Chain, "ca.crt": id.Chain[1:]} {
		if value := base64.StdEncoding.EncodeToString(pemfile.EncodeCertificates(want...)); !strings.Contains(text, "\n  "+field+": "+value+"\n") {
			t.Errorf("%s is not there, or another one", field)
		}
	}
	without, err := bundle.Encode(id, bundle.Options{Format: bundle.Kubernetes})
	if err != nil || bytes.Contains(without, []byte("ca.crt")) {
		t.Errorf("%v: there is a ca.crt without anchors", err)
	}
}

func TestSecretName(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	for name, want := range map[string]string{
		"api.example.com":               "api.example.com",
		"alice@example.com":             "alice-example.com",
		"*.example.com":                 "example.com",
		"Alice Doe":                     "alice-doe",
		"spiffe://example.com/x":        "spiffe---example.com-x",
		"2001:db8::1":                   "2001-db8--1",
		"a.-.b":                         "a.b",
		"null":                          "null",
		strings.Repeat("a", 252) + ".b": strings.Repeat("a", 252),
	} {
		got := bundle.SecretName(bundle.Identity{Name: name, Chain: alice(t).Chain})
		if got != want || !valid.MatchString(got) {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	got := bundle.SecretName(bundle.Identity{Name: "田中", Chain: alice(t).Chain})
	if !regexp.MustCompile(`^mutual-[0-9a-f]{16}$`).MatchString(got) {
		t.Errorf("a name without letters of ASCII becomes %q", got)
	}
}

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	secret, public := bundle.File{Path: at("a.p12"), Data: []byte("1")}, bundle.File{Path: at("a.der"), Data: []byte("2"), Public: true}
	if err := bundle.CheckFiles(false, secret.Path, public.Path); err != nil {
		t.Fatal(err)
	}
	if err := bundle.WriteFiles(false, secret, public); err != nil {
		t.Fatal(err)
	}
	wantMode(t, secret.Path, 0o600)
	wantMode(t, public.Path, 0o644)
	wantError(t, bundle.CheckFiles(false, at("new"), secret.Path), `a.p12" is there already`)
	if err := bundle.CheckFiles(true, at("new"), secret.Path); err != nil {
		t.Error(err)
	}
	wantError(t, bundle.CheckFiles(true, filepath.Join(secret.Path, "x")), "is no directory")
	wantError(t, bundle.CheckFiles(true, at("none/x")), "checking the directory")

	// All or none: the second cannot be made.
	err := bundle.WriteFiles(false, bundle.File{Path: at("b"), Data: []byte("3")}, secret)
	wantError(t, err, "file exists")
	err = bundle.WriteFiles(true, bundle.File{Path: secret.Path, Data: []byte("3")}, bundle.File{Path: at("none/x")})
	wantError(t, err, "writing ")
	wantFiles(t, dir, "a.der", "2", "a.p12", "1")

	secret.Data = []byte("4")
	if err := bundle.WriteFiles(true, secret); err != nil {
		t.Error(err)
	}
	wantFiles(t, dir, "a.der", "2", "a.p12", "4")
}
