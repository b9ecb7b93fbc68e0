package store

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// BenchmarkMillionRevoked makes, publishes and reads lists of a million
// certificates, of a PKI that TestSeed has made:
//
//	go test ./pki/store -run TestSeed -seed DIR -seed.certificates 1010000 -seed.revoked 1000000
//	go test ./pki/store -run - -bench MillionRevoked -benchtime 3x -seed DIR
//
// peak-MB is that of the process since the benchmark began.
func BenchmarkMillionRevoked(b *testing.B) {
	if *seedDir == "" {
		b.Skip("-seed is not given")
	}
	now := time.Now().UTC()
	open := func() *PKI {
		p, err := Open(b.Context(), *seedDir, (&fixture{now: now}).options())
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	refresh := func(b *testing.B) {
		p := open()
		defer func() { _ = p.Close() }()
		lists, err := p.Refresh(b.Context(), RefreshRequest{Only: pki.KindIssuing})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(lists[0].Entries), "entries")
	}
	b.Run("refresh", func(b *testing.B) {
		resetPeak(b)
		for b.Loop() {
			refresh(b)
		}
		reportPeak(b)
	})
	b.Run("rebuild", func(b *testing.B) {
		resetPeak(b)
		for b.Loop() {
			if err := os.Remove(*seedDir + "/crl/issuing.crl"); err != nil {
				b.Fatal(err)
			}
			refresh(b)
		}
		reportPeak(b)
	})
	b.Run("revoke-one", func(b *testing.B) {
		var fresh []pki.Name
		p := open()
		if err := p.List(b.Context(), Filter{Kind: pki.KindClient}, func(c Certificate) error {
			if c.Revocation == nil && len(fresh) < b.N+8 {
				fresh = append(fresh, c.Name)
			}
			return nil
		}); err != nil || len(fresh) <= b.N {
			b.Fatal(len(fresh), " clients can be revoked: ", err)
		}
		_ = p.Close()
		resetPeak(b)
		for i := 0; b.Loop() && i < len(fresh); i++ {
			p := open()
			if _, err := p.Revoke(b.Context(), Selection{Names: fresh[i : i+1]}, pki.KeyCompromise, false); err != nil {
				b.Fatal(err)
			}
			_ = p.Close()
		}
		reportPeak(b)
	})
}

// resetPeak begins to measure the peak of the memory anew, on Linux.
func resetPeak(b *testing.B) {
	b.Helper()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // elsewhere there is none to report
}

func reportPeak(b *testing.B) {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if field, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if kB, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(field, "kB"))); err == nil {
				b.ReportMetric(float64(kB)/1024, "peak-MB")
			}
		}
	}
}
