package gate

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
)

func identityOf(name, label string) Identity {
	u, err := url.Parse("spiffe://example.com/web")
	if err != nil {
		panic(err)
	}
	return Identity{Name: name, Label: label, Certificate: &x509.Certificate{
		Subject: pkix.Name{CommonName: "common", OrganizationalUnit: []string{"Ops"}}, DNSNames: []string{"a.Example.com"},
		EmailAddresses: []string{"a@example.com"}, URIs: []*url.URL{u}, RawSubjectPublicKeyInfo: []byte("key"),
	}}
}

func TestPatterns(t *testing.T) {
	sum := sha256.Sum256([]byte("key"))
	known, unknown := identityOf("alice", "Pixel 8"), identityOf("", "")
	for _, tt := range []struct {
		pattern        string
		known, unknown bool
	}{
		{"alice", true, false},
		{"Alice", false, false},
		{"al*", true, false},
		{"a?ice", true, false},
		{"*", true, true},
		{"name:alice", true, false},
		{"common", false, false}, // the CN counts only where it is asked for
		{"cn:common", true, true},
		{"cn:com", false, false},
		{"ou:Ops", true, true},
		{"a.Example.com", false, true}, // a name of the certificate where no inventory has one
		{"dns:a.example.com", true, true},
		{"dns:*.EXAMPLE.com", true, true},
		{"dns:example.com", false, false},
		{"email:*@example.com", true, true},
		{"uri:spiffe://example.com/*", true, true},
		{"spiffe://example.com/web", false, true},
		{"label:Pixel *", true, false},
		{"label:*", true, false},
		{"spki:" + hex.EncodeToString(sum[:]), true, true},
		{"spki:sha256/" + base64.StdEncoding.EncodeToString(sum[:]), true, true},
		{"spki:" + strings.Repeat("00", 32), false, false},
	} {
		rules, err := Allow([]string{tt.pattern})
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		if rules.Admits(known) != tt.known || rules.Admits(unknown) != tt.unknown {
			t.Errorf("%s: admits the one of the inventory %v and the other %v", tt.pattern, rules.Admits(known), rules.Admits(unknown))
		}
	}
	for pattern, why := range map[string]string{"": "names nobody", "DNS:x": "is of no kind", "ip:1.2.3.4": "is of no kind", "cn:": "names nobody", "spki:abc": "is not the SHA-256"} {
		if _, err := Allow([]string{pattern}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

const someRules = `
rules:
  - name: readers
    allow: [al*]
    methods: [get, HEAD]
    paths: [/v1/**, /exact, /files/*.txt]
  - name: label
    allow: ["label:Pixel *"]
    methods: [DELETE]
`

func TestDecisions(t *testing.T) {
	rules, err := ParseRules([]byte(someRules))
	if err != nil {
		t.Fatal(err)
	}
	id := identityOf("alice", "Pixel 8")
	for _, tt := range []struct{ method, path, rule string }{
		{"GET", "/v1/", "readers"},
		{"GET", "/v1/a/b", "readers"},
		{"HEAD", "/v1/a%20b", "readers"},
		{"GET", "/v1", ""},
		{"GET", "/v10/a", ""},
		{"GET", "/exact", "readers"},
		{"GET", "/exact/", ""},
		{"GET", "/files/a.txt", "readers"},
		{"GET", "/files/a/b.txt", ""},
		{"POST", "/v1/a", ""},
		{"DELETE", "/anything", "label"},
		{"DELETE", "/v1/../x", "label"}, // which has no paths
		// What an upstream may take for another path.
		{"GET", "/v1/../admin", ""},
		{"GET", "/v1/..", ""},
		{"GET", "/v1/./a", ""},
		{"GET", "/v1/%2e%2e/admin", ""},
		{"GET", "/v1/.%2E/admin", ""},
		{"GET", "/v1//a", ""},
		{"GET", "//v1/a", ""},
		{"GET", "/v1/a%2fb", ""},
		{"GET", "/v1/a%5cb", ""},
		{"GET", `/v1/a\b`, ""},
		{"GET", "/v1/a;b=c", ""},
		{"GET", "/v1/a%3bb", ""},
		{"GET", "/v1/%252e%252e/admin", ""},
		{"GET", "/v1/a%00", ""},
		{"GET", "/v1/a%0a", ""},
		{"GET", "/v1/a%3fb", ""},
		{"GET", "/v1/a%23b", ""},
		{"GET", "/v1/%c0%ae%c0%ae/b", ""},
		{"GET", "/v1/%zz", ""},
		{"GET", "", ""},
		{"OPTIONS", "*", ""},
	} {
		if d := rules.Decide(id, tt.method, tt.path); d.Rule != tt.rule || d.Allowed != (tt.rule != "") {
			t.Errorf("%s %s: %+v, want %q", tt.method, tt.path, d, tt.rule)
		}
	}
	if rules.Admits(identityOf("bob", "")) {
		t.Error("bob is let in")
	}
}

func TestRulesAreRefused(t *testing.T) {
	for text, why := range map[string]string{
		"":                                   "there is none",
		"rules: []":                          "there is none",
		"rules: [{name: a}]":                 "a does not say whom it is about",
		"rules: [{allow: [x], path: [/]}]":   "field path not found",
		"rules: [{allow: [x], paths: [v1]}]": "the path \"v1\"",
		"rules: [{allow: [x], paths: [/a/../b]}]": "the path \"/a/../b\"",
		"rules: [{allow: [x], methods: ['G T']}]": "\"G T\" is no method",
		"rules: [{allow: ['spki:1']}]":            "rule 1: spki:1",
		"rules: x":                                "line 1",
		"{":                                       "line 1",
		"rules: [{allow: [x]}]\n---\nrules: []":   "more than one document",
	} {
		if _, err := ParseRules([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

// FuzzRules: whatever is read decides the same twice, and a path that it allows
// is one that has one meaning.
func FuzzRules(f *testing.F) {
	f.Add([]byte(someRules), "GET", "/v1/a")
	f.Add([]byte("rules: [{allow: ['*'], paths: [/**]}]"), "GET", "/a/%2e%2e/b")
	f.Add([]byte("rules: &a [*a]"), "GET", "/")
	f.Fuzz(func(t *testing.T, text []byte, method, path string) {
		rules, err := ParseRules(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %q", err)
			}
			return
		}
		id := identityOf("alice", "Pixel 8")
		d := rules.Decide(id, method, path)
		if d != rules.Decide(id, method, path) || d.Allowed && !rules.Admits(id) {
			t.Errorf("%q %q: %+v", method, path, d)
		}
		for _, of := range rules.rules {
			if of.name == d.Rule && len(of.paths) > 0 && d.Allowed {
				if plain, ok := plainPath(path); !ok || strings.Contains(plain, "/../") || strings.Contains(plain, "//") {
					t.Errorf("%q allows %q", text, path)
				}
			}
		}
	})
}
