package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func batchPairs(names ...string) (out []*Pair) {
	for _, n := range names {
		out = append(out, &Pair{Base: n, Key: []byte("key of " + n + "\n"), Chain: []byte("chain of " + n + "\n")})
	}
	return out
}

// entries reads an archive to its end, or to where it ends.
func entries(t *testing.T, data []byte) (names []string, err error) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil {
			return names, err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return names, err
		}
		names = append(names, fmt.Sprintf("%s %o %d/%d %s", h.Name, h.Mode, h.Uid, h.Gid, bytes.TrimSpace(content)))
	}
}

func batchTime() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

func TestBatchTar(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	a, err := CreateBatchTar(path, false, batchTime())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateBatchTar(path, true, batchTime()); !errors.Is(err, ErrPartial) {
		t.Errorf("a second archive there: %v", err)
	}
	long := strings.Repeat("ä", 63) // a name that does not fit into the header
	for _, chunk := range [][]*Pair{batchPairs("alice", "bob"), batchPairs(long)} {
		if err := errors.Join(a.Keep(chunk), a.Put(chunk)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(true); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := entries(t, data)
	want := []string{"alice.key 600 0/0 key of alice", "bob.key 600 0/0 key of bob", "alice.crt 644 0/0 chain of alice", "bob.crt 644 0/0 chain of bob",
		long + ".key 600 0/0 key of " + long, long + ".crt 644 0/0 chain of " + long}
	if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// What was not put is not in an archive that was given up; what was is.
func TestBatchTarGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(a *BatchTar) error
		want []string // nil: there is no archive
	}{
		{"nothing", func(*BatchTar) error { return nil }, nil},
		{"only keys", func(a *BatchTar) error { return a.Keep(batchPairs("alice")) }, nil},
		{"keys behind what was put", func(a *BatchTar) error {
			return errors.Join(a.Keep(batchPairs("alice")), a.Put(batchPairs("alice")), a.Keep(batchPairs("bob")))
		}, []string{"alice.key", "alice.crt"}},
		{"the certificates could not be written", func(a *BatchTar) error {
			pairs := batchPairs("alice", "bob")
			if err := a.Keep(pairs); err != nil {
				return err
			}
			a.size.w = &failing{a.file, 600}
			if a.Put(pairs) == nil {
				return errors.New("they were")
			}
			return nil
		}, []string{"alice.key", "bob.key"}},
	} {
		path := filepath.Join(t.TempDir(), "a.tar")
		a, err := CreateBatchTar(path, false, batchTime())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(tt.do(a), a.Close(false)); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		data, err := os.ReadFile(path + ".partial")
		if tt.want == nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		var got []string
		names, end := entries(t, data)
		for _, n := range names {
			got = append(got, strings.Fields(n)[0])
		}
		if !slices.Equal(got, tt.want) || !errors.Is(end, io.EOF) {
			t.Errorf("%s: %q, %v", tt.name, got, end)
		}
	}
}

// failing writes so many octets and then no more.
type failing struct {
	w    io.Writer
	left int
}

func (f *failing) Write(b []byte) (int, error) {
	if len(b) <= f.left {
		f.left -= len(b)
		return f.w.Write(b)
	}
	n, _ := f.w.Write(b[:f.left]) // the other error counts
	f.left = 0
	return n, errors.New("the disk is full")
}

func TestBatchDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	d, err := OpenBatchDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	pairs := batchPairs("alice", "bob", "carol", "dropped")
	for _, p := range pairs {
		if err := errors.Join(d.Check(p), d.Stage(p)); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "[a-z]*")); len(left) > 0 {
		t.Errorf("before they are issued there are %q", left)
	}
	d.Drop(pairs[3])
	if err := d.Keep(pairs[:3]); err != nil {
		t.Fatal(err)
	}
	// Somebody takes a name after it was checked.
	if err := os.WriteFile(filepath.Join(dir, "bob.key"), []byte("another one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(pairs[:3]); err != nil {
		t.Fatal(err)
	}
	if pairs[0].Err != nil || pairs[2].Err != nil || !errors.Is(pairs[1].Err, fs.ErrExist) {
		t.Errorf("%v, %v, %v", pairs[0].Err, pairs[1].Err, pairs[2].Err)
	}
	if err := d.Close(true); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{"alice.key", "alice.crt", "bob.key", "carol.key", "carol.crt"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		got[name] = string(data)
	}
	if got["alice.key"] != "key of alice\n" || got["carol.crt"] != "chain of carol\n" || got["bob.key"] != "another one\n" {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "bob.crt")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a certificate without its key: %v", err)
	}
	kept, err := os.ReadFile(pairs[1].key.Path())
	if err != nil || string(kept) != "key of bob\n" || !strings.Contains(pairs[1].Err.Error(), pairs[1].key.Path()) {
		t.Errorf("the key of bob: %q, %v, and the error is %v", kept, err, pairs[1].Err)
	}
}

// What is given up leaves nothing, and force replaces.
func TestBatchDirGivenUpAndForced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	d, err := OpenBatchDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	p := batchPairs("alice")
	if err := errors.Join(d.Stage(p[0]), d.Keep(p), d.Close(false)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
	for _, force := range []bool{false, true} {
		if d, err = OpenBatchDir(dir, force); err != nil {
			t.Fatal(err)
		}
		p := batchPairs("alice")
		p[0].Key = fmt.Appendf(nil, "forced %v", force)
		if err := errors.Join(d.Check(p[0]), d.Stage(p[0]), d.Keep(p), d.Put(p), p[0].Err, d.Close(true)); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "alice.key")); err != nil || string(data) != "forced true" {
		t.Errorf("%q, %v", data, err)
	}
	again, err := OpenBatchDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close(false) }() // nothing is staged
	if err := again.Check(p[0]); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
}

// Keys of certificates that may have been issued stay when the batch ends.
func TestBatchInDoubt(t *testing.T) {
	dir := t.TempDir()
	a, err := CreateBatchTar(filepath.Join(dir, "a.tar"), false, batchTime())
	if err != nil {
		t.Fatal(err)
	}
	pairs := batchPairs("alice")
	if err := a.Keep(pairs); err != nil {
		t.Fatal(err)
	}
	where := a.Doubt()
	if err := a.Close(false); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(where)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := entries(t, data); !slices.Equal(got, []string{"alice.key 600 0/0 key of alice"}) { // it ends without an end
		t.Errorf("%q is in %s", got, where)
	}

	d, err := OpenBatchDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Stage(pairs[0]), d.Keep(pairs)); err != nil {
		t.Fatal(err)
	}
	where = d.Doubt()
	if err := d.Close(false); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadDir(where)
	if err != nil || len(kept) != 1 {
		t.Errorf("%d keys are in %s, %v", len(kept), where, err)
	}
}
