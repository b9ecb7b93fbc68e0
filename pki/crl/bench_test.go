package crl

import (
	"crypto/x509"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"mutual/pki"
)

const million = 1_000_000

// millionTemplate has entries with serials and reasons like ours.
func millionTemplate(b *testing.B) (Template, *x509.Certificate) {
	b.Helper()
	ca := newCA(b, fixtureKey(b, "issuing-p256"), nil)
	t := templateFor(ca)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range million {
		var serial [16]byte
		binary.BigEndian.PutUint64(serial[:8], random.Uint64())
		binary.BigEndian.PutUint64(serial[8:], random.Uint64())
		serial[0] = serial[0]&0x7f | 0x40
		s, err := pki.SerialFromOctets(serial[:])
		if err != nil {
			b.Fatal(err)
		}
		t.Entries = append(t.Entries, Entry{s, thisUpdate.Add(-time.Duration(i) * time.Second), pki.EndEntityReasons()[i%6]})
	}
	return t, ca
}

// measure runs ours as often as the benchmark asks, and theirs as often, and
// reports how many times faster ours is.
func measure(b *testing.B, ours, theirs func()) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		ours()
	}
	mine := b.Elapsed()
	began := time.Now()
	for range b.N {
		theirs()
	}
	b.ReportMetric(float64(time.Since(began))/float64(mine), "×faster-than-x509")
}

// BenchmarkMillion works on a list of a million entries, beside crypto/x509.
func BenchmarkMillion(b *testing.B) {
	tmpl, ca := millionTemplate(b)
	key := fixtureKey(b, "issuing-p256")
	der := mustCreate(b, tmpl, key)
	theirs := x509Template(tmpl)
	create := func() {
		if _, err := x509.CreateRevocationList(nil, theirs, ca, key); err != nil {
			b.Fatal(err)
		}
	}
	parse := func() {
		if _, err := x509.ParseRevocationList(der); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("create", func(b *testing.B) { measure(b, func() { mustCreate(b, tmpl, key) }, create) })
	earlier := mustParse(b, der)
	b.Run("splice", func(b *testing.B) {
		measure(b, func() {
			bare := tmpl
			bare.Entries = nil
			builder := NewBuilder(bare, 1)
			if err := builder.Put(entry(4711, 0)); err != nil {
				b.Fatal(err)
			}
			if _, err := builder.Build(earlier, key); err != nil {
				b.Fatal(err)
			}
		}, create)
	})
	b.Run("parse", func(b *testing.B) { measure(b, func() { mustParse(b, der) }, parse) })
	b.Run("parse-and-verify", func(b *testing.B) {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			b.Fatal(err)
		}
		measure(b, func() {
			if err := mustParse(b, der).CheckSignature(ca); err != nil {
				b.Fatal(err)
			}
		}, func() {
			parse()
			if err := list.CheckSignatureFrom(ca); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			earlier.Lookup(tmpl.Entries[i%million].Serial)
			i += 7919
		}
	})
}
