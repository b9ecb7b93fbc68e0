package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"mutual/pki"
)

// BenchmarkInventory does what a person waits for: the first forty rows of each
// list, what a name has, the PKI at a glance. It does so in a small inventory and
// in a larger one, or in the one that TestSeed has made: the times should be the
// same.
//
//	go test ./pki/store -run '^$' -bench Inventory -seed DIR
func BenchmarkInventory(b *testing.B) {
	if *seedDir != "" {
		p, err := Open(b.Context(), *seedDir, Options{Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = p.Close() }() // only read
		benchmarkInventory(b, p)
		return
	}
	for _, many := range []int{1000, 30_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			now := time.Now().UTC()
			p, err := Init(b.Context(), filepath.Join(b.TempDir(), "pki"), request(), Options{Now: func() time.Time { return now }})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.Close() }() // only read from here on
			if err := seed(b.Context(), p, many, many/10); err != nil {
				b.Fatal(err)
			}
			benchmarkInventory(b, p)
		})
	}
}

func benchmarkInventory(b *testing.B, p *PKI) {
	errEnough := errors.New("enough")
	run := func(what string, do func() error) {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				if err := do(); err != nil && err != errEnough {
					b.Fatal(err)
				}
			}
		})
	}
	for what, f := range map[string]Filter{
		"list": {}, "all": {All: true}, "expired": {Expired: true}, "expiring": {Expiring: lifetime("30d")}, "revoked": {Revoked: true},
		"blocked": {Blocked: true}, "label": {Label: "Pixel 8"}, "server": {Kind: pki.KindServer}, "many": {Glob: "dev-*"}, "few": {Glob: "dev-000001*"},
	} {
		run(what, func() error {
			rows := 0
			return p.List(b.Context(), f, func(Certificate) error {
				if rows++; rows == 40 {
					return errEnough
				}
				return nil
			})
		})
	}
	run("show", func() error { _, err := p.Resolve(b.Context(), "dev-0000500"); return err })
	run("status", func() error { _, err := p.Status(b.Context()); return err })
	run("tree", func() error {
		roots, err := p.Tree(b.Context())
		if err != nil {
			return err
		}
		shown := 0
		for _, err := range roots[0].Issued[0].All(b.Context()) {
			if shown++; err != nil || shown == 20 {
				return err
			}
		}
		return nil
	})
}
