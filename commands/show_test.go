package commands

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/commands/ui"
	"mutual/pki/pemfile"
	"mutual/pki/pkitest"
)

const goldenDir = "../testdata/golden"

// show runs "mutual show" where there is no PKI.
func show(t *testing.T, stdin []byte, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := testEnv(map[string]string{"HOME": t.TempDir()}, &stdout, &stderr)
	env.Stdin.Reader = bytes.NewReader(stdin)
	env.Now = pkitest.Now
	code := mainWith(t.Context(), append([]string{"show"}, args...), env, tree())
	return result{code, stdout.String(), stderr.String()}
}

// showRequest is a request that asks for everything.
func showRequest(t *testing.T) []byte {
	t.Helper()
	uri, err := url.Parse("spiffe://example.com/a")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "alice", Organization: []string{"Acme"}},
		DNSNames: []string{"a.example"}, EmailAddresses: []string{"a@example.com"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)}, URIs: []*url.URL{uri},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 6, 1, 1, 0xff, 2, 1, 3}},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 1, 0x06}},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2}},
			{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}},
		},
	}, pkitest.Key(t, "leaf-p256"))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// What is shown of everything that a file may hold, as text and as JSON: the
// names of the fields are a promise.
func TestShowGolden(t *testing.T) {
	public, err := x509.MarshalPKIXPublicKey(pkitest.Key(t, "rsa2048").Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]struct {
		stdin []byte
		what  string
	}{
		"client":      {what: filepath.Join(goldenDir, "client.pem")},
		"server":      {what: filepath.Join(goldenDir, "server-long-name.pem")},
		"constrained": {what: filepath.Join(goldenDir, "issuing-constrained.pem")},
		"crl":         {what: filepath.Join(goldenDir, "crl-issuing.pem")},
		"key":         {what: "../testdata/keys/p384.pem"},
		"public-key":  {stdin: public, what: "-"},
		"request":     {stdin: showRequest(t), what: "-"},
	} {
		for _, format := range []string{"txt", "json"} {
			args := []string{of.what}
			if format == "json" {
				args = append(args, "--json")
			}
			r := show(t, of.stdin, args...)
			if r.code != 0 || r.stderr != "" {
				t.Errorf("%s: exit %d, %s", name, r.code, r.stderr)
				continue
			}
			golden(t, filepath.Join(goldenDir, "show-"+name+"."+format), strings.ReplaceAll(r.stdout, `\\`, `/`))
		}
	}
}

// sign makes a certificate of a template, with our issuing CA's name.
func sign(t *testing.T, template *x509.Certificate) []byte {
	t.Helper()
	h := pkitest.NewHierarchy(t, pkitest.Config{})
	template.SerialNumber = big.NewInt(7)
	template.NotBefore, template.NotAfter = pkitest.Now(), pkitest.Now().Add(48*time.Hour)
	der, err := x509.CreateCertificate(nil, template, h.Issuing.Certificate(), pkitest.Key(t, "leaf-p256").Public(), pkitest.Key(t, "issuing-p256"))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The types of names that crypto/x509 leaves out are shown, too.
func TestShowNamesOfEveryType(t *testing.T) {
	tlv := func(tag byte, content ...byte) []byte { return append([]byte{tag, byte(len(content))}, content...) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	upn := tlv(0xa0, join(tlv(6, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3), tlv(0xa0, tlv(0x0c, []byte("alice@corp")...)...))...)
	other := tlv(0xa0, join(tlv(6, 0x2a, 3, 4), tlv(0xa0, tlv(4, 1, 2)...))...)
	directory := tlv(0xa4, tlv(0x30, tlv(0x31, tlv(0x30, join(tlv(6, 0x55, 4, 3), tlv(0x0c, []byte("a,b")...))...)...)...)...)
	names := tlv(0x30, join(upn, other, directory, tlv(0x82, []byte("a.example")...), tlv(0x87, 192, 0, 2, 7), tlv(0x88, 0x2a, 3), tlv(0x87, 1, 2, 3))...)
	r := show(t, sign(t, &x509.Certificate{ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: false, Value: names}}}), "-", "--json")
	// crypto/x509 refuses an address of three octets; a request may hold one.
	if r.code != 1 || !strings.Contains(r.stderr, "cannot parse IP address") {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	view := newExtensionsView([]pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}})
	want := []string{"upn:alice@corp", "otherName:1.2.3.4:#04020102", `directoryName:CN=a\,b`, "dns:a.example", "ip:192.0.2.7", "registeredID:1.2.3", "ip:#010203"}
	if got := strings.Join(view.SubjectAltName, " | "); got != strings.Join(want, " | ") {
		t.Errorf("%s\nwant %s", got, strings.Join(want, " | "))
	}
}

// What stands in a certificate was chosen by whoever made it: it neither
// reaches the terminal unescaped nor floods it.
func TestShowHostileCertificate(t *testing.T) {
	var hosts []string
	for range 5000 {
		hosts = append(hosts, strings.Repeat("h", 50)+".example")
	}
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "ali\x1b]0;x\x07ce\nstate  valid", Organization: []string{strings.Repeat("ü", 100_000)}, Locality: []string{"a\u202eb"}},
		DNSNames: hosts,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{0x1b, '[', '3', '1', 'm'}},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: []byte{0x30, 5, 0x30, 3, 6, 1, 0x2a}},
		},
	}
	der := sign(t, template)
	r := show(t, der, "-")
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	if strings.ContainsAny(r.stdout, "\x1b\x07\x00\u202e") || strings.Contains(r.stdout, "\nstate  valid") {
		t.Errorf("something reached the terminal: %q", r.stdout)
	}
	if len(r.stdout) > 32_000 {
		t.Errorf("%d octets of text", len(r.stdout))
	}
	for _, want := range []string{`ali\x1b]0\;x`, "… (", "… and 4900 more: --json has them", "1.2.3.4, 5 octets (critical)", "1.2\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is not in %s", want, r.stdout)
		}
	}
	var v struct {
		Items []struct {
			Certificate struct {
				Extensions struct {
					SubjectAltName []string `json:"subjectAltName"`
					Critical       []string `json:"critical"`
				} `json:"extensions"`
			} `json:"certificate"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(show(t, der, "-", "--json").stdout), &v); err != nil || len(v.Items) != 1 {
		t.Fatalf("%v, %d items", err, len(v.Items))
	}
	if e := v.Items[0].Certificate.Extensions; len(e.SubjectAltName) != 5000 || strings.Join(e.Critical, " ") != "1.2.3.4" {
		t.Errorf("%d names, critical %q", len(e.SubjectAltName), e.Critical)
	}
}

// An extension that is not what its standard says is shown as such, and hides
// no other.
func TestShowMalformedExtensions(t *testing.T) {
	oid := func(arcs ...int) asn1.ObjectIdentifier { return arcs }
	var all []pkix.Extension
	for _, r := range extensionReaders() {
		var id asn1.ObjectIdentifier
		for arc := range strings.SplitSeq(r.oid, ".") {
			n, ok := new(big.Int).SetString(arc, 10)
			if !ok {
				t.Fatal(r.oid)
			}
			id = append(id, int(n.Int64()))
		}
		for _, value := range [][]byte{nil, {0x30}, {0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, {0x30, 1, 0x30}, {0xff, 0}} {
			all = append(all, pkix.Extension{Id: id, Value: value})
		}
	}
	all = append(all, pkix.Extension{Id: oid(1, 2), Critical: true})
	v := newExtensionsView(all)
	if len(v.Other) != len(all) {
		t.Errorf("%d of %d are shown as malformed", len(v.Other), len(all))
	}
	for i, e := range v.Other {
		if e.Malformed != (i < len(all)-1) {
			t.Errorf("%s: malformed %v", e.OID, e.Malformed)
		}
	}
}

func TestShowRequestSignature(t *testing.T) {
	good := showRequest(t)
	weak, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, pkitest.Key(t, "rsa1024"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		der  []byte
		want string
	}{
		{good, "good: whoever made it has the key"},
		{bytes.Replace(good, []byte("alice"), []byte("admin"), 1), "BAD: "},
		{weak, "not checked: the key (RSA 1024) is too weak"},
	} {
		r := show(t, tt.der, "-")
		if r.code != 0 || !strings.Contains(r.stdout, tt.want) {
			t.Errorf("exit %d, %q is not in %s%s", r.code, tt.want, r.stdout, r.stderr)
		}
	}
}

// Every spelling of a serial and of a fingerprint finds the certificate.
func TestShowEverySpelling(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	mutual := func(args ...string) result {
		var stdout, stderr bytes.Buffer
		env := testEnv(map[string]string{"MUTUAL_PKI": dir}, &stdout, &stderr)
		env.Now = pkitest.Now
		return result{mainWith(t.Context(), args, env, tree()), stdout.String(), stderr.String()}
	}
	for _, args := range [][]string{{"init"}, {"issue", "client", "alice", "--out", filepath.Join(t.TempDir(), "out")}} {
		if r := mutual(args...); r.code != 0 {
			t.Fatalf("%q: %s", args, r.stderr)
		}
	}
	var shown struct {
		Items []struct {
			Certificate struct{ Serial, SHA256, SHA1 string } `json:"certificate"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(mutual("show", "alice", "--json").stdout), &shown); err != nil || len(shown.Items) != 1 {
		t.Fatalf("%v, %+v", err, shown)
	}
	cert := shown.Items[0].Certificate
	number, ok := new(big.Int).SetString(cert.Serial, 16)
	if !ok {
		t.Fatal(cert.Serial)
	}
	colons := func(s string) string {
		var octets []string
		for ; s != ""; s = s[2:] {
			octets = append(octets, s[:2])
		}
		return strings.ToUpper(strings.Join(octets, ":"))
	}
	for what, as := range map[string]string{
		"name:alice": "name", cert.Serial: "serial", strings.ToUpper(cert.Serial): "serial", colons(cert.Serial): "serial",
		"0x" + cert.Serial: "serial", number.String(): "serial", "serial:" + cert.Serial: "serial",
		cert.SHA256: "sha256", colons(cert.SHA256): "sha256", "sha256:" + cert.SHA256: "sha256", cert.SHA1: "sha1", colons(cert.SHA1): "sha1",
	} {
		r := mutual("show", what, "--json")
		if r.code != 0 || !strings.Contains(r.stdout, `"as": "`+as+`"`) || !strings.Contains(r.stdout, `"serial": "`+cert.Serial+`"`) {
			t.Errorf("%s: exit %d, not as %s: %s%s", what, r.code, as, r.stdout, r.stderr)
		}
	}
	for _, what := range []string{cert.Serial[:30], cert.SHA256[:62], "alic", "Alice", "serial:alice"} {
		if r := mutual("show", what); r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "is not in the inventory") {
			t.Errorf("%s: exit %d, %s%s", what, r.code, r.stdout, r.stderr)
		}
	}
}

func TestDaysAway(t *testing.T) {
	now := pkitest.Now()
	for d, want := range map[time.Duration]string{
		time.Hour: "in less than a day", -time.Hour: "less than a day ago", 24 * time.Hour: "in 1 day", -36 * time.Hour: "1 day ago",
		90 * 24 * time.Hour: "in 90 days", -2400 * time.Hour: "100 days ago",
	} {
		if got := daysAway(now.Add(d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// Whatever a file holds is shown or refused; nothing panics.
func FuzzShow(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(goldenDir, "*.pem"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no golden certificates: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		items, err := pemfile.Parse(data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(items[0].DER)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		items, err := pemfile.Parse(der)
		if err != nil {
			return
		}
		var stdout, stderr bytes.Buffer
		r := newRun(testEnv(nil, &stdout, &stderr), rootCommand(nil), colorNever)
		r.passphrase.fd = -1
		v := &showView{}
		for _, item := range items {
			shown, err := r.newItemView(t.Context(), nil, item)
			if err != nil {
				continue
			}
			v.Items = append(v.Items, shown)
		}
		if err := v.Text(r.out); err != nil {
			t.Error(err)
		}
		if err := ui.NewPrinter(&stdout, ui.Options{}).JSON(v); err != nil {
			t.Error(err)
		}
	})
}

// The same for what the reader of extensions sees without crypto/x509 in
// front of it, as in a request.
func FuzzShowExtension(f *testing.F) {
	for i := range extensionReaders() {
		f.Add(i, []byte{0x30, 3, 0x82, 1, 'a'})
		f.Add(i, []byte{0x30, 6, 0xa0, 4, 6, 1, 0x2a, 5})
	}
	f.Fuzz(func(t *testing.T, i int, value []byte) {
		readers := extensionReaders()
		if i < 0 || i >= len(readers) {
			return
		}
		var v extensionsView
		readers[i].read(&v, value)
		_ = v.fields()
	})
}
