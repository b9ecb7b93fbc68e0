package crl

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/pkitest/tools"

	"golang.org/x/crypto/cryptobyte"
)

// What is recognized fast is accepted slowly, with the same content: so a list
// gets the same verdict either way.
func FuzzCanonicalEntry(f *testing.F) {
	for _, e := range append(manyEntries(), entry(0x7f, 0), Entry{pki.NewSerial(big.NewInt(-129)), thisUpdate.AddDate(40, 0, 0), pki.Superseded}) {
		f.Add(appendEntry(nil, e))
	}
	f.Add(bytes.Join(entryWith(ext(0x15, critical, []byte{0x0a, 1, 1})), nil))
	f.Add(bytes.Join(entryWith(ext(0x15, nil, []byte{0x0a, 1, 0})), nil))
	f.Add(tlv(0x30, tlv(0x02, []byte{0, 1}), utcTime("261031120000Z")))
	f.Add(tlv(0x30, tlv(0x02, []byte{1}), utcTime("240229235959Z")))
	f.Add(tlv(0x30, tlv(0x02, []byte{1}), utcTime("500431240060Z")))
	f.Fuzz(func(t *testing.T, in []byte) {
		length, serial := canonicalEntry(in)
		if length == 0 {
			return
		}
		rest := cryptobyte.String(in)
		want, feature, err := readEntry(&rest, 2)
		if err != nil || feature != "" || len(in)-len(rest) != length {
			t.Fatalf("%x is recognized, and readEntry says %q, %v after %d octets of %d", in, feature, err, len(in)-len(rest), length)
		}
		date, reason := decodeCanonical(in[:length], serial)
		if !bytes.Equal(serial, want.Serial.Octets()) || date != want.RevocationDate || reason != want.Reason {
			t.Fatalf("%x is %x, %s, %s, and readEntry reads %v", in, serial, date, reason, want)
		}
		if again := appendEntry(nil, want); !bytes.Equal(again, in[:length]) && date.Year() >= 1950 {
			t.Fatalf("%x is written %x", in[:length], again)
		}
	})
}

// Every day that there is, and no other, is recognized.
func TestIsUTCTime(t *testing.T) {
	for year := 1950; year < 2050; year++ {
		for month := time.January; month <= time.December; month++ {
			for d := range 33 {
				date := time.Date(year, month, d, 12, 0, 0, 0, time.UTC)
				text := fmt.Sprintf("%02d%02d%02d120000Z", year%100, month, d)
				if got, want := isUTCTime(utcTime(text)), date.Month() == month; got != want {
					t.Errorf("%s is recognized: %v", text, got)
				}
			}
		}
	}
}

// change is one step of a list to the next; a reason of 0xff drops.
type change struct {
	serial pki.Serial
	reason pki.Reason
}

const drop = pki.Reason(0xff)

// splicer is the CA of lists that are spliced, and another.
type splicer struct {
	key       crypto.Signer
	ca, other *x509.Certificate
}

func newSplicer(t testing.TB, key string) splicer {
	t.Helper()
	s := splicer{key: fixtureKey(t, key)}
	s.ca, s.other = newCA(t, s.key, nil), newCA(t, fixtureKey(t, "root-p256"), nil)
	return s
}

// check applies the changes to a list of the entries, and makes the list of what
// should come out anew.
func (s splicer) check(t *testing.T, was map[pki.Serial]Entry, changes []change) (now map[pki.Serial]Entry) {
	t.Helper()
	key, ca := s.key, s.ca
	tmpl := templateFor(ca)
	listOf := func(entries map[pki.Serial]Entry) []byte {
		for _, e := range entries {
			tmpl.Entries = append(tmpl.Entries, e)
		}
		defer func() { tmpl.Entries = nil }()
		return mustCreate(t, tmpl, key)
	}
	earlier := mustParse(t, listOf(was))
	now = map[pki.Serial]Entry{}
	for s, e := range was {
		now[s] = e
	}
	tmpl.ThisUpdate, tmpl.NextUpdate = tmpl.ThisUpdate.Add(time.Hour), tmpl.NextUpdate.Add(time.Hour)
	tmpl.Number = NextNumber(earlier.Number(), tmpl.ThisUpdate)
	b := NewBuilder(tmpl, len(changes))
	put := map[pki.Serial]bool{}
	for _, c := range changes {
		switch {
		case c.reason == drop:
			if err := b.Drop(c.serial); err != nil {
				t.Fatal(err)
			}
			if !put[c.serial] {
				delete(now, c.serial)
			}
		case !put[c.serial]:
			put[c.serial] = true
			e := Entry{c.serial, thisUpdate.Add(-time.Duration(len(put)) * time.Minute), c.reason}
			now[c.serial] = e
			if err := b.Put(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	built, err := b.Build(earlier, key)
	if err != nil {
		t.Fatal(err)
	}
	if want := listOf(now); !bytes.Equal(built.Raw(), want) {
		t.Fatalf("spliced\n%x\nmade anew\n%x", built.Raw(), want)
	}
	if want := len(was) + built.Added - built.Removed; built.Len() != want || built.Len() != len(now) {
		t.Fatalf("%d entries, %d added, %d removed, give %d", len(was), built.Added, built.Removed, built.Len())
	}
	if err := built.CheckSignature(ca); err != nil {
		t.Fatal(err)
	}
	if err := built.CheckSignature(s.other); err == nil {
		t.Fatal("another CA's key has signed it, too")
	}
	if built.digest == nil {
		t.Fatal("the digest is not kept")
	}
	if _, err := x509.ParseRevocationList(built.Raw()); err != nil {
		t.Fatal(err)
	}
	return now
}

// Serials of every length, close together, negative ones among them.
func serialNumbered(n int) pki.Serial {
	v := big.NewInt(int64(n>>2)*2 - 5)
	return pki.NewSerial(v.Lsh(v, uint(n&3)*56))
}

func randomChanges(random *rand.Rand, size, n int) []change {
	reasons := append(pki.EndEntityReasons(), pki.CertificateHold, drop, drop, drop)
	out := make([]change, n)
	for i := range out {
		out[i] = change{serialNumbered(random.IntN(size)), reasons[random.IntN(len(reasons))]}
	}
	return out
}

func TestSpliceIsCreate(t *testing.T) {
	s := newSplicer(t, "issuing-p256")
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 4))
		size := 1 + random.IntN(300)
		list := map[pki.Serial]Entry{}
		for range 8 {
			list = s.check(t, list, randomChanges(random, size, random.IntN(1+size/2)))
		}
	}
}

func FuzzSplice(f *testing.F) {
	f.Add([]byte{8, 1, 8, 2, 12, 3}, []byte{8, 200, 8, 1, 16, 0})
	f.Add([]byte{}, []byte{1, 1, 1, 255})
	s := newSplicer(f, "ed25519")
	f.Fuzz(func(t *testing.T, base, diff []byte) {
		reasons := append(pki.EndEntityReasons(), drop, drop)
		read := func(in []byte) (out []change) {
			for i := 0; i+1 < len(in) && i < 400; i += 2 {
				out = append(out, change{serialNumbered(int(in[i])), reasons[int(in[i+1])%len(reasons)]})
			}
			return out
		}
		s.check(t, s.check(t, nil, read(base)), read(diff))
	})
}

// Only what Create itself would write is copied.
func TestCannotSplice(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	ca := newCA(t, key, nil)
	tmpl := templateFor(ca, entry(5, 0), entry(6, pki.KeyCompromise))
	own := mustParse(t, mustCreate(t, tmpl, key))
	spoiled := func(entries ...[]byte) *List {
		return mustParse(t, with(func(p *parts) { p.issuer, p.entries = ca.RawSubject, entries }))
	}
	later := tmpl
	later.ThisUpdate = later.ThisUpdate.Add(time.Second)
	for what, earlier := range map[string]*List{
		"another CA's":          mustParse(t, with(nil)),
		"a newer one":           mustParse(t, mustCreate(t, later, key)),
		"not sorted":            spoiled(goodEntry(7), goodEntry(3)),
		"a serial twice":        spoiled(goodEntry(3), goodEntry(3)),
		"reason unspecified":    spoiled(entryWith(ext(0x15, nil, []byte{0x0a, 1, 0}))...),
		"reason critical":       spoiled(entryWith(ext(0x15, critical, []byte{0x0a, 1, 1}))...),
		"early GeneralizedTime": spoiled(tlv(0x30, tlv(0x02, []byte{5}), tlv(0x18, []byte("20261031120000Z")))),
	} {
		if _, err := NewBuilder(tmpl, 0).Build(earlier, key); !errors.Is(err, ErrCannotSplice) {
			t.Errorf("%s: %v", what, err)
		}
	}
	tmpl.Entries = nil
	if built, err := NewBuilder(tmpl, 0).Build(own, key); err != nil || !bytes.Equal(built.Raw(), own.Raw()) {
		t.Errorf("without a change it is %v, %v", built, err)
	}
	b := NewBuilder(tmpl, 2)
	for range 2 {
		if err := b.Put(entry(9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Build(own, key); err == nil || err.Error() != "creating a revocation list: the serial 09 is there twice" {
		t.Errorf("a serial that is put twice: %v", err)
	}
}

func TestOpenSSLReadsSpliced(t *testing.T) {
	openssl := tools.Need(t, "openssl")
	for _, name := range []string{"issuing-p256", "rsa2048", "ed25519"} {
		key := fixtureKey(t, name)
		ca := newCA(t, key, nil)
		tmpl := templateFor(ca)
		earlier := mustParse(t, mustCreate(t, templateFor(ca, manyEntries()...), key))
		b := NewBuilder(tmpl, 2)
		if err := errors.Join(b.Put(entry(4711, pki.KeyCompromise)), b.Drop(manyEntries()[3].Serial), b.Drop(manyEntries()[5].Serial)); err != nil {
			t.Fatal(err)
		}
		built, err := b.Build(earlier, key)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		list, cert := filepath.Join(dir, "list.crl"), filepath.Join(dir, "ca.pem")
		writeFile(t, list, built.Raw())
		writeFile(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
		out, err := exec.CommandContext(t.Context(), openssl, "crl", "-inform", "DER", "-in", list, "-CAfile", cert, "-noout", "-text").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("verify OK")) || bytes.Count(out, []byte("Serial Number:")) != len(manyEntries())-1 {
			t.Errorf("%s: openssl: %v\n%s", name, err, out)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	key := fixtureKey(t, "issuing-p256")
	l := mustParse(t, mustCreate(t, templateFor(newCA(t, key, nil), manyEntries()...), key))
	for _, serial := range []pki.Serial{manyEntries()[4].Serial, mustSerial(t, "0102030405060708090a0b0c0d0e0f10")} {
		if n := testing.AllocsPerRun(100, func() { l.Lookup(serial) }); n != 0 {
			t.Errorf("looking %s up allocates %v times", serial, n)
		}
	}
}

// Lists of other CAs are in the order of the dates.
func TestUnsortedLikeSorted(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	var entries [][]byte
	seen := map[int]bool{}
	for range 500 {
		n := random.IntN(2000)
		if seen[n] {
			continue
		}
		seen[n] = true
		entries = append(entries, appendEntry(nil, Entry{serialNumbered(n), thisUpdate.Add(-time.Duration(n) * time.Hour), pki.Superseded}))
	}
	l := mustParse(t, with(func(p *parts) { p.entries = entries }))
	sorted := slices.IsSortedFunc(l.index, func(a, b uint32) int { return compareIntegers(l.serialAt(a), l.serialAt(b)) })
	if !sorted {
		t.Error("the index is not sorted")
	}
	for n := range 2000 {
		e, ok := l.Lookup(serialNumbered(n))
		if known := seen[n]; known && (!ok || !e.RevocationDate.Equal(thisUpdate.Add(-time.Duration(n)*time.Hour))) {
			t.Fatal(fmt.Sprint(n, " is ", e, ok))
		}
	}
}
