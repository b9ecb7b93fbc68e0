package commands

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkStart runs the program for its version alone: what every command
// pays. It also gives what package initialisation takes of it, which should
// stay under 2 ms.
func BenchmarkStart(b *testing.B) {
	program := filepath.Join(b.TempDir(), "mutual")
	if out, err := exec.Command("go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		b.Fatalf("building the program: %v\n%s", err, out)
	}
	initialising, allocated := 0.0, 0.0
	for b.Loop() {
		cmd := exec.Command(program, "--version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		milliseconds, octets := initTrace(b, stderr.String())
		initialising += milliseconds
		allocated += octets
	}
	b.ReportMetric(initialising/float64(b.N), "init-ms/op")
	b.ReportMetric(allocated/float64(b.N)/1000, "init-kB/op")
}

// initTrace sums lines such as
// "init internal/bytealg @0.008 ms, 0.004 ms clock, 0 bytes, 0 allocs".
func initTrace(b *testing.B, text string) (milliseconds, octets float64) {
	b.Helper()
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[0] != "init" {
			continue
		}
		clock, err := strconv.ParseFloat(fields[4], 64)
		if err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		size, err := strconv.ParseFloat(fields[7], 64)
		if err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		milliseconds += clock
		octets += size
	}
	return milliseconds, octets
}
