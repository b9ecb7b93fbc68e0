package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// pairAt writes an old pair and gives its files.
func pairAt(t *testing.T, dir, keyDir string) Files {
	t.Helper()
	files := Files{
		Key: filepath.Join(keyDir, "alice.key"), Certificate: filepath.Join(dir, "alice.crt"), Combined: filepath.Join(dir, "alice.pem"),
	}
	for path, content := range map[string]string{files.Key: "key old", files.Certificate: "chain old", files.Combined: "key oldchain old"} {
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// contents reads what the places give at this moment.
func contents(t *testing.T, files Files) string {
	t.Helper()
	var out []string
	for _, e := range files.entries() {
		data, err := os.ReadFile(e.path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	return strings.Join(out, "|")
}

const oldPair, newPair = "key old|chain old|key oldchain old", "key new|chain new|key newchain new"

// wantClean wants nothing but the three files, with the mode that they had.
func wantClean(t *testing.T, files Files) {
	t.Helper()
	var names []string
	for _, dir := range slices.Compact([]string{filepath.Dir(files.Key), filepath.Dir(files.Certificate)}) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if !info.IsDir() && info.Mode() != 0o640 {
				t.Errorf("%s has the mode %v", e.Name(), info.Mode())
			}
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "alice.crt alice.key alice.pem" && got != "alice.crt alice.key alice.pem private" {
		t.Errorf("the directory holds %s", got)
	}
}

func stageSwap(t *testing.T, files Files) *Swap {
	t.Helper()
	s, err := StageSwap(files, []byte("key new"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A process that is killed after any step leaves a pair that matches, before
// and after somebody has recovered it; the swap can then go on.
func TestSwapKilledAfterEachStep(t *testing.T) {
	for _, atomic := range []bool{true, false} {
		for _, apart := range []bool{false, true} {
			for killed := 0; ; killed++ {
				dir := t.TempDir()
				keyDir := dir
				if apart {
					keyDir = filepath.Join(dir, "private")
					if err := os.Mkdir(keyDir, 0o700); err != nil {
						t.Fatal(err)
					}
				}
				files := pairAt(t, dir, keyDir)
				s := stageSwap(t, files)
				steps := s.steps([]byte("chain new"), atomic)
				if killed > len(steps) {
					break
				}
				t.Run(fmt.Sprintf("atomic %t, apart %t, after %d steps", atomic, apart, killed), func(t *testing.T) {
					for _, step := range steps[:killed] {
						if err := step(); err != nil {
							t.Fatal(err)
						}
						if got := contents(t, files); got != oldPair && got != newPair {
							t.Errorf("the pair is %q", got)
						}
					}
					recoverAndGoOn(t, files)
				})
			}
		}
	}
}

// recoverAndGoOn does what the next renewal does.
func recoverAndGoOn(t *testing.T, files Files) {
	t.Helper()
	before := contents(t, files)
	staged, changed, err := Recover(files)
	if err != nil {
		t.Fatal(err)
	}
	after := contents(t, files)
	if changed && after != newPair || staged != nil && after != oldPair || before == newPair && after != newPair {
		t.Errorf("%q became %q (changed %t)", before, after, changed)
	}
	if staged != nil {
		if string(staged.Key()) != "key new" {
			t.Errorf("the key is %q", staged.Key())
		}
		if _, err := staged.Commit([]byte("chain new")); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, files); got != newPair {
			t.Errorf("going on leads to %q", got)
		}
	}
	wantClean(t, files)
}

// Whoever reads the pair while it changes sees the old one or the new. Two files
// cannot be opened at one instant: the reader reads the key again after the
// certificate, as a careful program does.
func TestSwapChangesAtOneInstant(t *testing.T) {
	dir := t.TempDir()
	files := pairAt(t, dir, dir)
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for reads := 0; ; reads++ {
			select {
			case <-stop:
				if reads == 0 {
					done <- errors.New("nothing was read")
				} else {
					done <- nil
				}
				return
			default:
			}
			if data, err := readAgain(files.Combined); err != nil || string(data) != "key oldchain old" && string(data) != "key newchain new" {
				done <- fmt.Errorf("%q, %v", data, err)
				return
			}
			if bad := readPairTwice(files); bad != "" {
				done <- errors.New(bad)
				return
			}
		}
	}()
	for range 10 {
		if _, err := stageSwap(t, files).Commit([]byte("chain new")); err != nil {
			t.Fatal(err)
		}
		s, err := StageSwap(files, []byte("key old"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit([]byte("chain old")); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantClean(t, files)
}

// readAgain reads a file, once more where it followed a link that went away
// meanwhile.
func readAgain(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.ReadFile(path)
	}
	return data, err
}

// readPairTwice reads key, certificate, key. Where both keys are the same, the
// certificate was read while that key was in place, and must be its own unless
// the pair changed there and back again meanwhile, which the next try settles.
func readPairTwice(files Files) string {
	for range 20 {
		before, err1 := readAgain(files.Key)
		certificate, err2 := readAgain(files.Certificate)
		after, err3 := readAgain(files.Key)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err.Error()
		}
		if string(before) != string(after) {
			continue
		}
		if strings.TrimPrefix(string(before), "key ") == strings.TrimPrefix(string(certificate), "chain ") {
			return ""
		}
	}
	return "twenty times in a row the key stood still and the certificate was not its own"
}

// Where the new key is, and nothing else has begun, a failure leaves the old
// pair.
func TestSwapDiscard(t *testing.T) {
	dir := t.TempDir()
	files := pairAt(t, dir, dir)
	if err := stageSwap(t, files).Discard(); err != nil {
		t.Error(err)
	}
	if got := contents(t, files); got != oldPair {
		t.Errorf("the pair is %q", got)
	}
	wantClean(t, files)
}

// With the key that is there only the certificate changes, and what holds it.
func TestSwapSameKey(t *testing.T) {
	dir := t.TempDir()
	files := pairAt(t, dir, dir)
	const key = "-----BEGIN EC PRIVATE KEY-----\nYQ==\n-----END EC PRIVATE KEY-----\n"
	if err := os.WriteFile(files.Combined, []byte(key+"chain old"), 0o640); err != nil {
		t.Fatal(err)
	}
	s, err := StageSwap(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	if atomic, err := s.Commit([]byte("chain new")); err != nil || !atomic {
		t.Fatal(atomic, err)
	}
	if got, want := contents(t, files), "key old|chain new|"+key+"chain new"; got != want {
		t.Errorf("the files are %q, want %q", got, want)
	}
	wantClean(t, files)
}

func TestSwapRefuses(t *testing.T) {
	dir := t.TempDir()
	files := pairAt(t, dir, dir)
	missing := files
	missing.Key = filepath.Join(dir, "bob.key")
	directory := files
	directory.Key = filepath.Join(dir, "dir")
	if err := os.Mkdir(directory.Key, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		files Files
		key   string
		want  string
	}{
		{"no place", Files{}, "key new", "there is no place"},
		{"no place for the key", Files{Certificate: files.Certificate}, "key new", "there is no place"},
		{"no file", missing, "key new", "no such file"},
		{"a directory", directory, "key new", "is no file and cannot be replaced"},
		{"no certificate", Files{Certificate: missing.Key}, "", "no such file"},
	} {
		if _, err := StageSwap(tt.files, []byte(tt.key)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	s := stageSwap(t, files)
	if _, err := StageSwap(files, []byte("key 3")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second swap: %v", err)
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(directory.Key); err != nil {
		t.Fatal(err)
	}
	wantClean(t, files)
}

// A link is followed to the file, and the file is replaced; a link that a swap
// has put there is the file.
func TestLocate(t *testing.T) {
	dir, links := t.TempDir(), t.TempDir()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := pairAt(t, dir, dir)
	link := Files{Key: filepath.Join(links, "k"), Certificate: filepath.Join(links, "c")}
	for from, to := range map[string]string{link.Key: files.Key, link.Certificate: files.Certificate} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	s := stageSwap(t, files)
	for _, step := range s.steps([]byte("chain new"), true)[:5] {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		got, err := Locate(link)
		if err != nil || got.Key != files.Key || got.Certificate != files.Certificate {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	recoverAndGoOn(t, files)
	loop := filepath.Join(links, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if _, err := Locate(Files{Certificate: loop}); err == nil || !strings.Contains(err.Error(), "more than 40 symbolic links") {
		t.Error(err)
	}
}

// Who can write beside the pair cannot make a renewal replace other files: what
// stands in a hidden directory counts only if the user has made it.
func TestRecoverTrustsOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	files := pairAt(t, dir, dir)
	work := workDir(files.Main())
	for name, plant := range map[string]func() error{
		"a link":                        func() error { return os.Symlink(t.TempDir(), work) },
		"a file":                        func() error { return os.WriteFile(work, nil, 0o600) },
		"a directory that is open":      func() error { return errors.Join(os.Mkdir(work, 0o700), os.Chmod(work, 0o777)) },
		"a directory open to the group": func() error { return errors.Join(os.Mkdir(work, 0o700), os.Chmod(work, 0o770)) },
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		_, _, err := Recover(files)
		if runtime.GOOS != "windows" && (err == nil || !strings.Contains(err.Error(), "is not a directory of this user's")) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.RemoveAll(work); err != nil {
			t.Fatal(err)
		}
	}
}

// A name as long as the file system takes has room for what is hidden beside
// it.
func TestSwapLongName(t *testing.T) {
	dir := t.TempDir()
	files := Files{Key: filepath.Join(dir, strings.Repeat("x", 251)+".key"), Certificate: filepath.Join(dir, strings.Repeat("x", 251)+".crt")}
	for _, e := range files.entries() {
		if err := os.WriteFile(e.path, []byte(e.name+" old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stageSwap(t, files).Commit([]byte("chain new")); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, files); got != "key new|chain new" {
		t.Error(got)
	}
}
