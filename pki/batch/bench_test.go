package batch_test

import (
	"path/filepath"
	"testing"

	"mutual/pki/batch"
	"mutual/pki/bundle"
	"mutual/pki/pkitest"
)

// An operation is a certificate: go test -bench Batch -benchtime 20000x
// -cpuprofile F says where its time goes. The rate beside that of the bare
// cryptography is measured of the whole command, by BenchmarkBatch of package
// commands.
func BenchmarkBatchTar(b *testing.B) {
	out, err := bundle.CreateBatchTar(filepath.Join(b.TempDir(), "a.tar"), false, pkitest.Now())
	if err != nil {
		b.Fatal(err)
	}
	issueAll(b, out, clients())
	if err := out.Close(true); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkBatchDir(b *testing.B) {
	out, err := bundle.OpenBatchDir(b.TempDir(), false)
	if err != nil {
		b.Fatal(err)
	}
	o := clients()
	o.Remember = true
	issueAll(b, out, o)
	if err := out.Close(true); err != nil {
		b.Fatal(err)
	}
}

func issueAll(b *testing.B, out batch.Output, o batch.Options) {
	p, in := newPKI(b), newInput(b, devices(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	done, err := batch.Run(b.Context(), p, in, out, o, func([]batch.Result, batch.Progress) error { return nil })
	b.StopTimer()
	if err != nil || done.Issued != b.N {
		b.Fatalf("%d of %d are issued: %v", done.Issued, b.N, err)
	}
}
