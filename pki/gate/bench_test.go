package gate

import (
	"crypto/x509"
	"testing"
	"time"

	"mutual/pki"
)

// BenchmarkJudge is what a handshake costs beside TLS: the chain, the inventory
// and the rules; and next to it the chain alone, as crypto/tls checks it.
func BenchmarkJudge(b *testing.B) {
	f := newFixture(b, options{})
	alice := f.issue(pki.KindClient, "alice")
	var presented []*x509.Certificate
	for _, der := range alice.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		presented = append(presented, cert)
	}
	b.Run("gate", func(b *testing.B) {
		for b.Loop() {
			if j := f.gate.judge(b.Context(), presented); j.Refusal != nil {
				b.Fatal(j.Refusal)
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		source := f.gate.config.Source.(*PKISource)
		for b.Loop() {
			if _, err := source.state.Load().pki.Lookup(b.Context(), pki.FingerprintOf(presented[0].Raw)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("chain", func(b *testing.B) {
		o := x509.VerifyOptions{Roots: f.roots, Intermediates: x509.NewCertPool(), CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		o.Intermediates.AddCert(presented[1])
		for b.Loop() {
			if _, err := presented[0].Verify(o); err != nil {
				b.Fatal(err)
			}
		}
	})
}
