package commands

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkStart runs the release binary for its version and for its help,
// which is what every command pays, and in turn with it a program that does
// nothing. The figures are medians, and ratio is ours to the empty program's:
// it should stay under 4.
func BenchmarkStart(b *testing.B) {
	program, empty := buildRelease(b), buildEmpty(b)
	for _, flag := range []string{"--version", "--help"} {
		b.Run(strings.TrimLeft(flag, "-"), func(b *testing.B) {
			var ours, theirs []time.Duration
			for b.Loop() {
				theirs = append(theirs, timed(b, empty))
				ours = append(ours, timed(b, program, flag))
			}
			b.ReportMetric(0, "ns/op") // of both together
			b.ReportMetric(milliseconds(median(ours)), "ms")
			b.ReportMetric(milliseconds(median(theirs)), "empty-ms")
			b.ReportMetric(milliseconds(median(ours))/milliseconds(median(theirs)), "ratio")
		})
	}
}

// buildEmpty builds a program that does nothing, with the flags of a release.
func buildEmpty(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "empty")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("building the empty program: %v\n%s", err, out)
	}
	return program
}

// timed says how long a program takes from its start to its end.
func timed(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	began := time.Now()
	cmd := exec.Command(name, args...)
	cmd.Stdout = nil // the null device; a pipe would need a goroutine
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BenchmarkInit gives what package initialisation takes of a start, which
// should stay under 2 ms.
func BenchmarkInit(b *testing.B) {
	program := buildRelease(b)
	var initialising []time.Duration
	allocated := 0.0
	for b.Loop() {
		cmd := exec.Command(program, "--version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var stderr strings.Builder
		cmd.Stderr, cmd.Stdout = &stderr, io.Discard
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		clock, octets := initTrace(b, stderr.String())
		initialising = append(initialising, clock)
		allocated = octets
	}
	b.ReportMetric(milliseconds(median(initialising)), "init-ms")
	b.ReportMetric(allocated/1000, "init-kB")
}

// initTrace sums lines such as
// "init internal/bytealg @0.008 ms, 0.004 ms clock, 0 bytes, 0 allocs".
func initTrace(b *testing.B, text string) (clock time.Duration, octets float64) {
	b.Helper()
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[0] != "init" {
			continue
		}
		took, err := time.ParseDuration(fields[4] + fields[5])
		if err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		size, err := strconv.ParseFloat(fields[7], 64)
		if err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		clock += took
		octets += size
	}
	if clock == 0 {
		b.Fatalf("no package was initialised: %q", text)
	}
	return clock, octets
}
