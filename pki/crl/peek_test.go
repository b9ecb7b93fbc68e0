package crl

import (
	"bytes"
	"testing"
)

func TestPeekNumber(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	ca := newCA(t, key, nil)
	for _, entries := range [][]Entry{nil, {entry(5, 0)}, manyEntries()} {
		der := mustCreate(t, templateFor(ca, entries...), key)
		n, err := PeekNumber(bytes.NewReader(der))
		if err != nil || n.Cmp(mustParse(t, der).Number()) != 0 {
			t.Errorf("%d entries: %v, %v", len(entries), n, err)
		}
	}
	for name, der := range map[string][]byte{
		"nothing":               nil,
		"no extensions":         with(func(p *parts) { p.extensions = nil }),
		"no number":             with(func(p *parts) { p.extensions = p.extensions[:1] }),
		"cut short":             with(nil)[:40],
		"length of nine octets": {0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1},
	} {
		if n, err := PeekNumber(bytes.NewReader(der)); err == nil {
			t.Errorf("%s: %v, want an error", name, n)
		}
	}
}

// Whatever Parse accepts has the number and the issuer that are seen without
// parsing.
func FuzzPeekNumber(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		n, err := PeekNumber(bytes.NewReader(der))
		l, parseErr := Parse(der)
		if parseErr != nil {
			return
		}
		if (err == nil) != (l.Number() != nil) || err == nil && n.Cmp(l.Number()) != 0 {
			t.Fatalf("PeekNumber gives %v, %v, and Parse %v", n, err, l.Number())
		}
		if issuer, err := PeekIssuer(bytes.NewReader(der)); len(der) < maxPeek && (err != nil || !bytes.Equal(issuer, l.Issuer())) {
			t.Fatalf("PeekIssuer gives %x, %v, and Parse %x", issuer, err, l.Issuer())
		}
	})
}
