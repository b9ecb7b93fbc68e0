package commands

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// cancelOn is a writer that cancels as soon as it is told the text.
type cancelOn struct {
	bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (w *cancelOn) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.text) {
		w.cancel()
	}
	return n, err
}

// TestDemoInterrupted: whenever it is interrupted, the demo ends with 130 and
// leaves nothing behind.
func TestDemoInterrupted(t *testing.T) {
	for _, note := range []string{"creating a root", "issuing a server certificate", "a gate in front"} {
		t.Run(note, func(t *testing.T) {
			dir := temporaryPlace(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stdout bytes.Buffer
			stderr := &cancelOn{text: note, cancel: cancel}
			env := testEnv(map[string]string{}, &stdout, nil)
			env.Stderr, env.Now = Output{Writer: stderr}, time.Now
			if code := mainWith(ctx, []string{"demo"}, env, tree()); code != exitInterrupted {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(stderr.String(), "interrupted") || stdout.Len() > 0 {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
			wantEmpty(t, dir)
		})
	}
}

// temporaryPlace is where the test's process makes temporary files.
func temporaryPlace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	name := "TMPDIR"
	if runtime.GOOS == "windows" {
		name = "TMP"
	}
	t.Setenv(name, dir)
	return dir
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left in %s", entry.Name(), dir)
	}
}
