// Package tools says whether the programs that a test drives are there. It is
// imported by tests only.
package tools

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Required reports whether a missing program is a failure and not a reason to
// skip: MUTUAL_REQUIRE_TOOLS=1.
func Required() bool { return os.Getenv("MUTUAL_REQUIRE_TOOLS") == "1" }

// Need returns the path of the first program. A test whose programs are not
// all there is skipped with a line that names them, or fails if they are
// required; with -short no test drives other programs.
func Need(t testing.TB, names ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short: it drives " + strings.Join(names, ", "))
	}
	if missing := Missing(names...); missing != "" {
		Absent(t, missing)
	}
	path, _ := find(names[0])
	return path
}

// Absent skips the test because of what is absent, or fails it if programs
// are required.
func Absent(t testing.TB, what string) {
	t.Helper()
	if Required() {
		t.Fatal(what + ", and MUTUAL_REQUIRE_TOOLS is set")
	}
	t.Skip(what)
}

// Missing names the programs that are not installed, or gives "".
func Missing(names ...string) string {
	var missing []string
	for _, name := range names {
		if _, err := find(name); err != nil {
			missing = append(missing, name)
		}
	}
	if missing == nil {
		return ""
	}
	return "missing programs: " + strings.Join(missing, ", ")
}

// find looks also where only root's path leads: servers are in sbin.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || strings.ContainsRune(name, '/') {
		return path, err
	}
	if path, sbinErr := exec.LookPath("/usr/sbin/" + name); sbinErr == nil {
		return path, nil
	}
	return "", err
}
