package bundle_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mutual/pki/bundle"
	"mutual/pki/pkitest/tools"
)

// smallDisk names the directory on which the tests of a full and of a
// read-only disk run; it is set for the process inside the mount namespace.
const smallDisk = "MUTUAL_TEST_SMALL_DISK"

// onSmallDisk runs the calling test again in a mount namespace of its own, on
// a disk of 32 KiB. It returns that disk's directory inside, and "" outside,
// where everything has been done.
func onSmallDisk(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(smallDisk); dir != "" {
		return dir
	}
	program := tools.NeedMounts(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const script = `mount -t tmpfs -o size=32k,mode=700 tmpfs "$1" && exec "$2" -test.run "^$3\$" -test.v`
	inside := exec.Command(program, "--mount", "--map-root-user", "sh", "-c", script, "sh", dir, self, t.Name())
	inside.Env = append(os.Environ(), smallDisk+"="+dir)
	out, err := inside.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "=== RUN") {
		tools.Absent(t, fmt.Sprintf("no disk can be mounted here: %v: %s", err, out))
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("inside the mount namespace: %v\n%s", err, out)
	}
	return ""
}

// fill writes a file of so many KiB.
func fill(t *testing.T, dir string, kib int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, kib<<10), 0o600); err != nil {
		t.Fatal(err)
	}
}

func unfill(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
}

const full = "no space left on device"

func TestFullDisk(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	target := bundle.Target{Dir: dir, Base: "alice", WithKey: true, Combined: true}

	fill(t, dir, 20) // 12 KiB are left: too little room
	wantError(t, bundle.Check(target), full)
	unfill(t, dir)
	wantFiles(t, dir)

	fill(t, dir, 32)
	_, err := bundle.Stage(target, []byte(keyPEM))
	wantError(t, err, full)
	below := target
	below.Dir = filepath.Join(dir, "out")
	_, err = bundle.Stage(below, []byte(keyPEM))
	wantError(t, err, full)
	unfill(t, dir)
	wantFiles(t, dir)

	p := stage(t, target)
	fill(t, dir, 28) // nothing is left
	files, err := p.Commit([]byte(chainPEM))
	wantError(t, err, full)
	wantKept(t, files, err)
	unfill(t, dir)
	wantFiles(t, dir)
}

// TestFullDiskForce keeps the old files when there is no room for the new.
func TestFullDiskForce(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	write(t, dir, "alice.crt", "old", "alice.key", "old")
	p := stage(t, bundle.Target{Dir: dir, Base: "alice", WithKey: true, Force: true})
	fill(t, dir, 20) // nothing is left
	files, err := p.Commit([]byte(chainPEM))
	wantError(t, err, full)
	wantKept(t, files, err)
	unfill(t, dir)
	wantFiles(t, dir, "alice.crt", "old", "alice.key", "old")
}

func TestReadOnlyDisk(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	const readOnly = "read-only file system"
	target := bundle.Target{Dir: dir, Base: "alice", WithKey: true}
	p := stage(t, target)

	remount(unix.MS_RDONLY)
	wantError(t, bundle.Check(target), readOnly)
	below := target
	below.Dir = filepath.Join(dir, "out")
	wantError(t, bundle.Check(below), readOnly)
	_, err := bundle.Stage(below, []byte(keyPEM))
	wantError(t, err, readOnly)
	files, err := p.Commit([]byte(chainPEM))
	wantError(t, err, readOnly)

	remount(0)
	wantKept(t, files, err)
	if err := os.Remove(filepath.Join(dir, ".alice.lock")); err != nil { // could not be removed either
		t.Error(err)
	}
	wantFiles(t, dir)
}
