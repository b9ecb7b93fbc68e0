package bundle_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mutual/pki/bundle"
)

const keyPEM, chainPEM = "the key\n", "the chain\n"

// write makes files of a directory: name, content, name, content …
func write(t *testing.T, dir string, namesAndContents ...string) {
	t.Helper()
	for i := 0; i < len(namesAndContents); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, namesAndContents[i]), []byte(namesAndContents[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// wantFiles fails unless the directory holds exactly these files: name,
// content, name, content … in the order of the names.
func wantFiles(t *testing.T, dir string, namesAndContents ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name(), string(data))
	}
	if strings.Join(got, "|") != strings.Join(namesAndContents, "|") {
		t.Errorf("the directory holds %q, want %q", got, namesAndContents)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); runtime.GOOS != "windows" && got != want {
		t.Errorf("%s has the mode %v, want %v", path, got, want)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}

// stage checks and stages, with a key if the target wants one.
func stage(t *testing.T, target bundle.Target) *bundle.Pending {
	t.Helper()
	if err := bundle.Check(target); err != nil {
		t.Fatal(err)
	}
	var key []byte
	if target.WithKey {
		key = []byte(keyPEM)
	}
	p, err := bundle.Stage(target, key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCommit(t *testing.T) {
	tests := []struct {
		name   string
		target bundle.Target
		before []string
		want   []string
	}{
		{"pair", bundle.Target{WithKey: true}, nil, []string{"alice.crt", chainPEM, "alice.key", keyPEM}},
		{"combined", bundle.Target{WithKey: true, Combined: true}, nil,
			[]string{"alice.crt", chainPEM, "alice.key", keyPEM, "alice.pem", keyPEM + chainPEM}},
		{"certificate", bundle.Target{}, []string{"alice.key", "theirs"}, []string{"alice.crt", chainPEM, "alice.key", "theirs"}},
		{"force", bundle.Target{WithKey: true, Force: true}, []string{"alice.crt", "old", "alice.key", "old", "bob.key", "bob"},
			[]string{"alice.crt", chainPEM, "alice.key", keyPEM, "bob.key", "bob"}},
		{"force over nothing", bundle.Target{WithKey: true, Force: true}, nil, []string{"alice.crt", chainPEM, "alice.key", keyPEM}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := test.target
			target.Dir, target.Base = t.TempDir(), "alice"
			write(t, target.Dir, test.before...)
			files, err := stage(t, target).Commit([]byte(chainPEM))
			if err != nil {
				t.Fatal(err)
			}
			wantFiles(t, target.Dir, test.want...)
			wantMode(t, files.Certificate, 0o644)
			if target.WithKey {
				wantMode(t, files.Key, 0o600)
			}
			if target.Combined {
				wantMode(t, files.Combined, 0o600)
			}
			if (files.Key != "") != target.WithKey || (files.Combined != "") != target.Combined {
				t.Errorf("%+v", files)
			}
		})
	}
}

// TestDirectory makes the directory when only its parent exists, and not
// before Stage; Discard takes it away again.
func TestDirectory(t *testing.T) {
	parent := t.TempDir()
	target := bundle.Target{Dir: filepath.Join(parent, "out"), Base: "alice", WithKey: true}
	if err := bundle.Check(target); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, parent)
	p := stage(t, target)
	wantMode(t, target.Dir, 0o700)
	if err := p.Discard(); err != nil {
		t.Error(err)
	}
	wantFiles(t, parent)
	if _, err := stage(t, target).Commit([]byte(chainPEM)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, target.Dir, "alice.crt", chainPEM, "alice.key", keyPEM)

	p = stage(t, bundle.Target{Dir: target.Dir, Base: "bob", WithKey: true})
	if err := p.Discard(); err != nil { // leaves a directory that it did not make
		t.Error(err)
	}
	wantFiles(t, target.Dir, "alice.crt", chainPEM, "alice.key", keyPEM)
}

// TestWorkingDirectory writes where the process is.
func TestWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	files, err := stage(t, bundle.Target{Base: "alice", WithKey: true}).Commit([]byte(chainPEM))
	if err != nil {
		t.Fatal(err)
	}
	if files.Key != "alice.key" || files.Certificate != "alice.crt" {
		t.Errorf("%+v", files)
	}
	wantFiles(t, ".", "alice.crt", chainPEM, "alice.key", keyPEM)
}

func TestCheckRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "key.key", "", "crt.crt", "", "pem.pem", "", "file", "")
	if err := os.Mkdir(filepath.Join(dir, "dir.crt"), 0o700); err != nil {
		t.Fatal(err)
	}
	in := func(base string) bundle.Target {
		return bundle.Target{Dir: dir, Base: base, WithKey: true, Combined: true}
	}
	below := func(path ...string) bundle.Target {
		return bundle.Target{Dir: filepath.Join(append([]string{dir}, path...)...), Base: "alice"}
	}
	force := in("dir")
	force.Force = true
	tests := []struct {
		name   string
		target bundle.Target
		want   string
		is     error
	}{
		{"key", in("key"), `key.key" is there already`, fs.ErrExist},
		{"certificate", in("crt"), `crt.crt" is there already`, fs.ErrExist},
		{"combined", in("pem"), `pem.pem" is there already`, fs.ErrExist},
		{"directory", in("dir"), `dir.crt" is there already`, fs.ErrExist},
		{"directory by force", force, `dir.crt" is no file and cannot be replaced`, nil},
		{"no parent", below("a", "b"), "neither the directory ", fs.ErrNotExist},
		{"a file as directory", below("file"), `file" is no directory`, nil},
		{"below a file", below("file", "a"), "directory", nil},
		{"long name", in(strings.Repeat("x", 255)), "checking the place of a file", nil},
		{"no name", in(""), `"" cannot begin the name of a file`, nil},
		{"a path as name", in(filepath.Join("..", "x")), "cannot begin the name of a file", nil},
		{"combined without key", bundle.Target{Dir: dir, Base: "alice", Combined: true}, "needs the key", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && test.name == "long name" {
				t.Skip("Windows takes the path for one that is not there")
			}
			err := bundle.Check(test.target)
			wantError(t, err, test.want)
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 5 {
		t.Errorf("Check left something: %v, %v", entries, err)
	}
}

// TestStageFails leaves neither a file nor a directory.
func TestStageFails(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "")
	for name, test := range map[string]struct {
		target bundle.Target
		key    string
		want   string
	}{
		"below a file":  {bundle.Target{Dir: filepath.Join(dir, "file"), Base: "alice", WithKey: true}, keyPEM, "writing "},
		"no parent":     {bundle.Target{Dir: filepath.Join(dir, "a", "b"), Base: "alice"}, "", "creating the directory "},
		"no key":        {bundle.Target{Dir: filepath.Join(dir, "a"), Base: "alice", WithKey: true}, "", "one is missing, or none was wanted"},
		"key to spare":  {bundle.Target{Dir: filepath.Join(dir, "a"), Base: "alice"}, keyPEM, "one is missing, or none was wanted"},
		"a bad name":    {bundle.Target{Dir: filepath.Join(dir, "a"), Base: "..", WithKey: true}, keyPEM, "cannot begin the name of a file"},
		"NUL in it":     {bundle.Target{Dir: filepath.Join(dir, "a"), Base: "x\x00", WithKey: true}, keyPEM, "writing "},
		"parent a file": {bundle.Target{Dir: filepath.Join(dir, "file", "a"), Base: "alice"}, "", "creating the directory "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bundle.Stage(test.target, []byte(test.key))
			wantError(t, err, test.want)
			wantFiles(t, dir, "file", "")
		})
	}
}

// TestCommitFails makes one step of Commit fail. No file gets its name, what
// was there is there again, and the key is where the error says.
func TestCommitFails(t *testing.T) {
	pair := []string{"alice.crt", "old certificate", "alice.key", "old key"}
	tests := []struct {
		name    string
		force   bool
		before  []string // there before Check
		between string   // a file, or with a slash a directory, that comes after Stage
		want    []string // what remains, without the key's temporary file
		is      error
	}{
		{"a key appears", false, nil, "alice.key", []string{"alice.key", ""}, fs.ErrExist},
		{"a certificate appears", false, nil, "alice.crt", []string{"alice.crt", ""}, fs.ErrExist},
		{"a combined file appears", false, nil, "alice.pem", []string{"alice.pem", ""}, fs.ErrExist},
		{"force, the certificate is a directory", true, pair[2:], "alice.crt/", pair[2:], nil},
		{"force, the combined file is a directory", true, pair, "alice.pem/", pair, nil},
		{"force over nothing, the combined file is a directory", true, nil, "alice.pem/", nil, nil},
		{"force, the key is a directory", true, pair[:2], "alice.key/", pair[:2], nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, test.before...)
			target := bundle.Target{Dir: dir, Base: "alice", WithKey: true, Combined: true, Force: test.force}
			p := stage(t, target)
			appeared := filepath.Join(dir, test.between)
			if name, isDir := strings.CutSuffix(test.between, "/"); isDir {
				if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, dir, name, "")
			}
			files, err := p.Commit([]byte(chainPEM))
			wantError(t, err, "; the key is kept in ")
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
			wantKept(t, files, err)
			if strings.HasSuffix(test.between, "/") {
				if err := os.Remove(appeared); err != nil {
					t.Error(err)
				}
			}
			wantFiles(t, dir, test.want...)
		})
	}
}

// wantKept checks that the key is in the file that a failed Commit names, and
// takes it away.
func wantKept(t *testing.T, files bundle.Files, err error) {
	t.Helper()
	if !strings.Contains(err.Error(), filepath.Base(files.Key)) || files.Certificate != "" || files.Combined != "" {
		t.Errorf("%+v and the error %v", files, err)
	}
	data, errRead := os.ReadFile(files.Key)
	if errRead != nil || string(data) != keyPEM {
		t.Errorf("the kept key is %q, %v", data, errRead)
	}
	wantMode(t, files.Key, 0o600)
	if err := os.Remove(files.Key); err != nil {
		t.Error(err)
	}
}

// TestCommitFailsWithoutKey leaves nothing.
func TestCommitFailsWithoutKey(t *testing.T) {
	dir := t.TempDir()
	p := stage(t, bundle.Target{Dir: dir, Base: "alice"})
	write(t, dir, "alice.crt", "theirs")
	files, err := p.Commit([]byte(chainPEM))
	if !errors.Is(err, fs.ErrExist) || files != (bundle.Files{}) || strings.Contains(err.Error(), "the key is kept") {
		t.Errorf("%+v, %v", files, err)
	}
	wantFiles(t, dir, "alice.crt", "theirs")
}
