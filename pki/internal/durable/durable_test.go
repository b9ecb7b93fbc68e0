package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"
)

// wantFile fails unless the file has this content and, where modes say
// something, this mode.
func wantFile(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != content {
		t.Errorf("%s holds %q, %v, want %q", path, data, err, content)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != mode {
		t.Errorf("%s has the mode %v, want %v", path, info.Mode(), mode)
	}
}

// wantNames fails unless the directory holds exactly these files.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

func stage(t *testing.T, path, content string) *Staged {
	t.Helper()
	s, err := Stage(path, []byte(content), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.crt")
	for _, content := range []string{"first", "second", ""} {
		if err := WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, content, 0o644)
	}
	wantNames(t, dir, "a.crt")
	err := WriteFile(dir, nil, 0o644)
	wantError(t, err, "replacing ")
	wantNames(t, filepath.Dir(dir), filepath.Base(dir))
}

func TestStage(t *testing.T) {
	dir := t.TempDir()
	s := stage(t, filepath.Join(dir, "a.key"), "secret")
	if !regexp.MustCompile(`^\.a\.key\.[0-9a-f]{16}\.tmp$`).MatchString(filepath.Base(s.Path())) || filepath.Dir(s.Path()) != dir {
		t.Errorf("the temporary file is %q", s.Path())
	}
	wantFile(t, s.Path(), "secret", 0o600)
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
	wantNames(t, dir)
	if err := s.Discard(); err != nil {
		t.Errorf("discarding again: %v", err)
	}

	_, err := Stage(filepath.Join(dir, "missing", "a.key"), nil, 0o600)
	wantError(t, err, "writing ")
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("a missing directory is %v", err)
	}
}

func TestCreate(t *testing.T) {
	ways := map[string]func(*Staged) error{"link": (*Staged).create, "reserve": (*Staged).reserve, "Create": (*Staged).Create}
	for name, create := range ways {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.key")
			s := stage(t, path, "first")
			if err := create(s); err != nil {
				t.Fatal(err)
			}
			if s.Path() != path {
				t.Errorf("Path = %q", s.Path())
			}
			if err := s.Discard(); err != nil { // must leave it alone
				t.Error(err)
			}
			wantFile(t, path, "first", 0o600)
			wantNames(t, dir, "a.key")

			second := stage(t, path, "second")
			if err := create(second); !errors.Is(err, fs.ErrExist) {
				t.Errorf("creating it again: %v", err)
			}
			wantFile(t, path, "first", 0o600)
			wantFile(t, second.Path(), "second", 0o600)
			if err := second.Discard(); err != nil {
				t.Error(err)
			}
			wantNames(t, dir, "a.key")
		})
	}
}

// TestCreateOnce lets several writers create the same file: one succeeds.
func TestCreateOnce(t *testing.T) {
	for name, create := range map[string]func(*Staged) error{"link": (*Staged).create, "reserve": (*Staged).reserve} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.key")
			var done sync.WaitGroup
			var created atomic.Int32
			for range 16 {
				s := stage(t, path, "content")
				done.Go(func() {
					switch err := create(s); {
					case err == nil:
						created.Add(1)
					case !errors.Is(err, fs.ErrExist):
						t.Error(err)
					}
					_ = s.Discard()
				})
			}
			done.Wait()
			if n := created.Load(); n != 1 {
				t.Errorf("%d writers created it", n)
			}
			wantFile(t, path, "content", 0o600)
			wantNames(t, filepath.Dir(path), "a.key")
		})
	}
}

// TestCreateFails takes the temporary file away: no way of creating may leave
// anything behind.
func TestCreateFails(t *testing.T) {
	dir := t.TempDir()
	s := stage(t, filepath.Join(dir, "a.key"), "content")
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Create(), "creating ")
	wantError(t, s.Replace(), "replacing ")
	wantNames(t, dir)
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	for _, content := range []string{"first", "second"} {
		s := stage(t, path, content)
		if err := s.Replace(); err != nil {
			t.Fatal(err)
		}
		if s.Path() != path {
			t.Errorf("Path = %q", s.Path())
		}
		wantFile(t, path, content, 0o600)
	}
	wantNames(t, dir, "a.key")
}

// TestKeep replaces a file and puts the old one back.
func TestKeep(t *testing.T) {
	for name, keep := range map[string]func(string) (*Staged, error){"link": Keep, "copy": keepCopy} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.key")
			if err := WriteFile(path, []byte("old"), 0o640); err != nil {
				t.Fatal(err)
			}
			old, err := keep(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := WriteFile(path, []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
			wantFile(t, old.Path(), "old", 0o640)
			if err := old.Replace(); err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, "old", 0o640)
			wantNames(t, dir, "a.key")
			_, err = keep(filepath.Join(dir, "missing"))
			wantError(t, err, "keeping ")
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a missing file is %v", err)
			}
		})
	}
}

// TestLongName stages a file whose name has the 255 octets that a file system
// allows.
func TestLongName(t *testing.T) {
	dir := t.TempDir()
	name := strings.Repeat("ä", 127) + "x"
	s := stage(t, filepath.Join(dir, name), "content")
	if temp := filepath.Base(s.Path()); len(temp) > 255 || !utf8.ValidString(temp) {
		t.Errorf("the temporary name %q has %d octets", temp, len(temp))
	}
	if err := s.Create(); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, name)
}

// Sweep removes what killed writers of one file have left, and nothing else.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	long := filepath.Join(dir, strings.Repeat("n", 230))
	for _, of := range []string{path, path, long, filepath.Join(dir, "a"), filepath.Join(dir, "b.key")} {
		stage(t, of, "left")
	}
	others := []string{"a.key", ".a.key.tmp", ".a.key.0123.tmp", ".a.key.0123456789abcdeg.tmp", ".a.key.0123456789abcdef.tmp.x", "a.key.0123456789abcdef.tmp"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, of := range []string{path, long} {
			if err := Sweep(of); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(others)+2 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, of := range []string{"a", "b.key"} {
		if left, err := filepath.Glob(filepath.Join(dir, "."+of+".????????????????.tmp")); err != nil || len(left) != 1 {
			t.Errorf("beside %s are %q, %v", of, left, err)
		}
	}
	if err := Sweep(filepath.Join(dir, "none", "a.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestMkdir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() || runtime.GOOS != "windows" && info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	err = Mkdir(path, 0o700)
	wantError(t, err, "creating the directory ")
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating it again: %v", err)
	}
	if err := Mkdir(filepath.Join(dir, "a", "b"), 0o700); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a missing directory: %v", err)
	}
}
