package batch_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mutual/pki/batch"
	"mutual/pki/bundle"
)

// A batch whose input goes on, and says nothing, ends when it is interrupted or
// fails, and removes the keys of what is not issued.
func TestRunEndsWhileItsInputWaits(t *testing.T) {
	broken := errors.New("nobody reads the results")
	for name, of := range map[string]struct {
		rows      int // a thousand are committed at once
		interrupt bool
		want      error
		left      int // files
	}{
		"interrupted": {30, true, context.Canceled, 0},
		"failed":      {1000, false, broken, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			in, input := io.Pipe()
			defer func() { _ = input.Close() }() // then the reader ends, too
			go func() { _, _ = io.WriteString(input, devices(of.rows)) }()
			rows, err := batch.NewInput(in)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			out, err := bundle.OpenBatchDir(dir, false)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := newPKI(t)
			done := make(chan error)
			go func() {
				_, err := batch.Run(ctx, p, rows, out, clients(), func([]batch.Result, batch.Progress) error { return broken })
				done <- err
			}()
			if of.interrupt {
				waitForKey(t, dir)
				cancel()
			}
			select {
			case err := <-done:
				if !errors.Is(err, of.want) {
					t.Errorf("error %v, want %v", err, of.want)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it waits for its input")
			}
			if err := out.Close(false); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != of.left {
				t.Errorf("%d files are left, want %d (%v)", len(left), of.left, err)
			}
		})
	}
}

// waitForKey waits until the first key of a batch is written.
func waitForKey(t *testing.T, dir string) {
	t.Helper()
	for range 3000 {
		if found, _ := filepath.Glob(filepath.Join(dir, ".mutual.*", "*")); len(found) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no key is written")
}
