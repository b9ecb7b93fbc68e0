//go:build unix

package commands

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkBatch issues a certificate for an operation, into an archive and into
// a directory, and says what part that is of the rate of the bare loop: on all
// cores, make a key, sign once, check that signature. The two take turns in one
// run. cpu-% is the same of the time of the processor: what the rate would be if
// nothing had to be waited for, on a machine that others use, too. The figures of
// the README are of go test ./commands -run xxx -bench Batch -benchtime 100000x.
func BenchmarkBatch(b *testing.B) {
	dir := b.TempDir()
	program := filepath.Join(dir, "mutual")
	build := exec.Command("go", "build", "-o", program, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building the program: %v\n%s", err, out)
	}
	for _, of := range []struct{ name, flag, place string }{{"tar", "--tar", "batch.tar"}, {"dir", "--out", "batch"}} {
		b.Run(of.name, func(b *testing.B) {
			dir := b.TempDir()
			run := func(args ...string) *exec.Cmd {
				cmd := exec.Command(program, args...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "MUTUAL_PKI=pki")
				if out, err := cmd.Output(); err != nil {
					b.Fatalf("%s: %v\n%s", args, err, out)
				}
				return cmd
			}
			run("init")
			writeRows(b, filepath.Join(dir, "rows.csv"), b.N)
			half := max(1, b.N/2)
			wall, cpu := bareLoop(b, half)
			b.ResetTimer()
			cmd := run("issue", "client", "--batch", "rows.csv", of.flag, of.place, "--quiet")
			b.StopTimer()
			wall2, cpu2 := bareLoop(b, half)
			usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			mine := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
			rows := float64(b.N) / float64(2*half)
			b.ReportMetric(100*rows*float64(wall+wall2)/float64(b.Elapsed()), "%ofloop")
			b.ReportMetric(100*rows*float64(cpu+cpu2)/float64(mine), "cpu-%")
			b.ReportMetric(float64(usage.Maxrss)/1024, "MB")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certs/s")
		})
	}
}

func writeRows(b *testing.B, path string, n int) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "name,email,label")
	for i := range n {
		fmt.Fprintf(w, "dev-%06d,dev-%06d@example.com,\n", i, i)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

// bareLoop makes n keys, signs with each and checks that, on all cores.
func bareLoop(b *testing.B, n int) (wall, cpu time.Duration) {
	b.Helper()
	digest := sha256.Sum256([]byte("message"))
	workers := runtime.GOMAXPROCS(0)
	before, began := processorTime(b), time.Now()
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < n; i += workers {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					b.Error(err)
					return
				}
				signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
				if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
					b.Errorf("a signature is bad: %v", err)
					return
				}
			}
		})
	}
	wait.Wait()
	return time.Since(began), processorTime(b) - before
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
