package tools

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// NoMounts says why this user cannot have a mount namespace, or gives "".
// Where the kernel forbids it there is no program to install, so that is a
// reason to skip also where programs are required. A missing unshare is not
// its concern.
func NoMounts() string {
	program, err := find("unshare")
	if err != nil {
		return ""
	}
	out, err := exec.Command(program, "--mount", "--map-root-user", "true").CombinedOutput()
	if err == nil {
		return ""
	}
	return fmt.Sprintf("this user cannot have a mount namespace: %v: %s", err, strings.TrimSpace(string(out)))
}

// NeedMounts returns the path of unshare. A test that mounts a disk of its
// own is skipped where that is impossible for the user.
func NeedMounts(t testing.TB) string {
	t.Helper()
	program := Need(t, "unshare")
	if why := NoMounts(); why != "" {
		t.Skip(why)
	}
	return program
}
