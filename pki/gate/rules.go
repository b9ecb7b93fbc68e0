package gate

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"mutual/pki"
)

// Rules say who may come in, and what they may ask for. What no rule allows is
// refused.
type Rules struct {
	all   bool
	rules []rule
}

// rule allows what it matches.
type rule struct {
	name    string
	who     []pattern
	methods []string // empty: any
	paths   []string // empty: any
}

// Decision is what rules say of a request.
type Decision struct {
	Allowed bool
	Rule    string // that allows it
}

// AllowAll lets in whoever the source finds genuine.
func AllowAll() *Rules { return &Rules{all: true} }

// Allow makes a rule of each pattern, which is its name, too.
func Allow(patterns []string) (*Rules, error) {
	r := &Rules{}
	for _, text := range patterns {
		p, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, rule{name: text, who: []pattern{p}})
	}
	return r, nil
}

// MaxRules bounds a file of rules, in octets.
const MaxRules = 1 << 20

// rulesFile is a file of rules. Each names who it is about, and may name methods
// and paths.
type rulesFile struct {
	Rules []struct {
		Name    string   `yaml:"name"`
		Allow   []string `yaml:"allow"`
		Methods []string `yaml:"methods"`
		Paths   []string `yaml:"paths"`
	} `yaml:"rules"`
}

// ParseRules reads rules from YAML. A word that it does not know is an error.
func ParseRules(data []byte) (*Rules, error) {
	var file rulesFile
	in := yaml.NewDecoder(bytes.NewReader(data))
	in.KnownFields(true)
	if err := in.Decode(&file); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the rules: %s", yamlText(err))
	}
	if in.Decode(new(any)) != io.EOF {
		return nil, errors.New("reading the rules: there is more than one document")
	}
	if len(file.Rules) == 0 {
		return nil, errors.New("reading the rules: there is none: nobody would be let in")
	}
	out := &Rules{}
	for i, from := range file.Rules {
		r := rule{name: from.Name, paths: from.Paths}
		if r.name == "" {
			r.name = fmt.Sprintf("rule %d", i+1)
		}
		if len(from.Allow) == 0 {
			return nil, fmt.Errorf("reading the rules: %s does not say whom it is about (allow)", r.name)
		}
		for _, text := range from.Allow {
			p, err := parsePattern(text)
			if err != nil {
				return nil, fmt.Errorf("reading the rules: %s: %w", r.name, err)
			}
			r.who = append(r.who, p)
		}
		for _, m := range from.Methods {
			if m == "" || strings.ContainsFunc(m, func(c rune) bool { return c <= ' ' || c > '~' }) {
				return nil, fmt.Errorf("reading the rules: %s: %q is no method", r.name, m)
			}
			r.methods = append(r.methods, strings.ToUpper(m))
		}
		for _, path := range from.Paths {
			if _, plain := plainPath(path); !plain {
				return nil, fmt.Errorf("reading the rules: %s: the path %q does not begin with a slash, or is written in a way that no request may have", r.name, path)
			}
		}
		out.rules = append(out.rules, r)
	}
	return out, nil
}

// yamlText says what is wrong in a file of rules, without the words of a program.
func yamlText(err error) string {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return oneLine(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var out []string
	for _, text := range wrong.Errors {
		text, _, _ = strings.Cut(text, " in type ")
		text, _, _ = strings.Cut(text, " into ")
		out = append(out, text)
	}
	return oneLine(strings.Join(out, "; "))
}

// Admits reports whether there is anything that an identity may do.
func (r *Rules) Admits(id Identity) bool {
	return r.all || slices.ContainsFunc(r.rules, func(of rule) bool { return of.about(id) })
}

// Decide says whether an identity may send a request with a method and a path as
// it is written in the request. The first rule that allows it gives its name. A
// path that may mean different things to different programs is none that a rule
// with paths allows.
func (r *Rules) Decide(id Identity, method, path string) Decision {
	if r.all {
		return Decision{Allowed: true, Rule: "allow-all"}
	}
	for _, of := range r.rules {
		if of.about(id) && of.allows(method, path) {
			return Decision{Allowed: true, Rule: of.name}
		}
	}
	return Decision{}
}

func (r rule) about(id Identity) bool {
	return slices.ContainsFunc(r.who, func(p pattern) bool { return p.matches(id) })
}

func (r rule) allows(method, escaped string) bool {
	if len(r.methods) > 0 && !slices.Contains(r.methods, method) {
		return false
	}
	if len(r.paths) == 0 {
		return true
	}
	path, plain := plainPath(escaped)
	return plain && slices.ContainsFunc(r.paths, func(p string) bool { return matchPath(p, path) })
}

// pattern matches identities by one of their names.
type pattern struct {
	kind string // name, or as it stands before the colon
	glob string
}

// kinds are what may stand before a colon.
var kinds = []string{"name", "cn", "ou", "dns", "email", "uri", "spki", "label"}

// parsePattern reads KIND:GLOB, or GLOB for a name.
func parsePattern(text string) (pattern, error) {
	kind, glob, ok := strings.Cut(text, ":")
	switch {
	case ok && slices.Contains(kinds, kind):
	case ok && isAddress(text): // it is a name like any other
		kind, glob = "name", text
	case ok && kind != "urn" && !strings.HasPrefix(glob, "//"): // else it is the name of who has a URI
		return pattern{}, fmt.Errorf("%q is of no kind: before the colon stands one of %s (name:%s for a name)", text, strings.Join(kinds, ", "), text)
	default:
		kind, glob = "name", text
	}
	if glob == "" {
		return pattern{}, fmt.Errorf("%q names nobody", text)
	}
	switch kind {
	case "dns":
		glob = strings.ToLower(glob)
	case "spki":
		pin, err := parsePin(glob)
		if err != nil {
			return pattern{}, err
		}
		glob = pin
	}
	return pattern{kind, glob}, nil
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// parsePin reads the SHA-256 of a SubjectPublicKeyInfo, in hex or in base64 as in
// RFC 7469, and gives it in hex.
func parsePin(text string) (string, error) {
	text = strings.TrimPrefix(text, "sha256/")
	if b, err := hex.DecodeString(strings.ReplaceAll(text, ":", "")); err == nil && len(b) == sha256.Size {
		return hex.EncodeToString(b), nil
	}
	if b, err := base64.StdEncoding.DecodeString(text); err == nil && len(b) == sha256.Size {
		return hex.EncodeToString(b), nil
	}
	return "", fmt.Errorf("spki:%s is not the SHA-256 of a public key, in hex or base64", text)
}

// matches compares with what the kind of the pattern stands for. The CN counts
// only where a pattern says so.
func (p pattern) matches(id Identity) bool {
	cert := id.Certificate
	switch p.kind {
	case "cn":
		return cert.Subject.CommonName != "" && pki.MatchGlob(p.glob, cert.Subject.CommonName)
	case "ou":
		return p.any(cert.Subject.OrganizationalUnit)
	case "dns":
		return slices.ContainsFunc(cert.DNSNames, func(name string) bool { return pki.MatchGlob(p.glob, strings.ToLower(name)) })
	case "email":
		return p.any(cert.EmailAddresses)
	case "uri":
		return slices.ContainsFunc(uris(cert), func(u string) bool { return pki.MatchGlob(p.glob, u) })
	case "spki":
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		return p.glob == hex.EncodeToString(sum[:])
	case "label":
		return id.Label != "" && pki.MatchGlob(p.glob, id.Label)
	}
	if id.Name != "" { // the inventory knows who it is
		return pki.MatchGlob(p.glob, id.Name)
	}
	return p.any(cert.DNSNames) || p.any(cert.EmailAddresses) || p.any(uris(cert))
}

func (p pattern) any(values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return pki.MatchGlob(p.glob, v) })
}

// matchPath matches a path by its segments: * is any one segment or part of one,
// and ** as the last segment is one or more of them.
func matchPath(want, path string) bool {
	w, p := strings.Split(want, "/"), strings.Split(path, "/")
	for i, segment := range w {
		if segment == "**" && i == len(w)-1 {
			return i < len(p)
		}
		if i >= len(p) || !pki.MatchGlob(segment, p[i]) {
			return false
		}
	}
	return len(w) == len(p)
}

// plainPath gives a path, as it stands in a request, without its escapes, if it
// means the same to everyone: an upstream may take dots, doubled slashes,
// backslashes, path parameters, what is escaped twice, and what ends a path or is
// no UTF-8, for other than what was judged.
func plainPath(escaped string) (string, bool) {
	path, err := url.PathUnescape(escaped)
	if err != nil || !strings.HasPrefix(path, "/") || strings.Contains(path, "//") {
		return "", false
	}
	if strings.Count(path, "/") != strings.Count(escaped, "/") || strings.Count(path, ".") != strings.Count(escaped, ".") {
		return "", false
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || strings.ContainsRune("%;?#\uFFFD", r) }) {
		return "", false
	}
	dots := slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." })
	return path, !dots
}

// RuleSource is the rules in force: fixed ones, or those of a file, which may
// change.
type RuleSource struct {
	current atomic.Pointer[Rules]
	file    *watched
}

// FixedRules never change.
func FixedRules(r *Rules) *RuleSource {
	s := &RuleSource{}
	s.current.Store(r)
	return s
}

// RulesFile reads rules from a file, now and whenever its content is another.
func RulesFile(path string, now time.Time) (*RuleSource, error) {
	s := &RuleSource{file: &watched{path: path, limit: MaxRules}}
	_, err := s.look(now)
	return s, err
}

// look reads a file again if it has changed. A broken one leaves the rules as
// they are.
func (s *RuleSource) look(now time.Time) (changed bool, err error) {
	if s.file == nil {
		return false, nil
	}
	data, err := s.file.load(now)
	if data == nil || err != nil {
		return false, s.stillInForce(err)
	}
	rules, err := ParseRules(data)
	if err != nil {
		s.file.read = false // it is told again while it is so
		return false, s.stillInForce(fmt.Errorf("%s: %w", s.file.path, err))
	}
	s.current.Store(rules)
	return true, nil
}

// stillInForce says what a file that could not be read means for a gate that runs.
func (s *RuleSource) stillInForce(err error) error {
	if err == nil || s.current.Load() == nil {
		return err
	}
	return fmt.Errorf("%w: the last good ones are in force", err)
}
