package commands

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxRelease is what a stripped release binary may have, in octets.
const maxRelease = 20_000_000

// TestReleaseSize builds the program as a release does.
func TestReleaseSize(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it builds the program once more")
	}
	t.Parallel()
	info, err := os.Stat(buildRelease(t, "GOOS=linux", "GOARCH=amd64"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the release for linux/amd64 has %d octets", info.Size())
	if info.Size() > maxRelease {
		t.Errorf("the release for linux/amd64 has %d octets, and %d are the most", info.Size(), maxRelease)
	}
	if info.Size() < 1_000_000 {
		t.Errorf("the release for linux/amd64 has %d octets, which is no program", info.Size())
	}
}

// buildRelease builds the program with the flags of a release, for this
// machine unless env says otherwise.
func buildRelease(tb testing.TB, env ...string) string {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "mutual")
	args := append([]string{"build", "-o", program}, releaseFlags(tb)...)
	cmd := exec.Command("go", append(args, "..")...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("building the program: %v\n%s", err, out)
	}
	return program
}

// releaseFlags are the flags that .goreleaser.yaml builds with, but for the
// revision, which only a checkout has.
func releaseFlags(tb testing.TB) []string {
	tb.Helper()
	text, err := os.ReadFile("../.goreleaser.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	_, builds, _ := strings.Cut(string(text), "\nbuilds:\n")
	builds, _, _ = strings.Cut(builds, "\narchives:\n")
	ldflags := strings.ReplaceAll(strings.Join(yamlList(builds, "ldflags"), " "), "{{ .Version }}", "v0.0.0-test")
	tags := strings.Join(yamlList(builds, "tags"), ",")
	if !strings.Contains(ldflags, "-s -w") || tags == "" {
		tb.Fatalf(".goreleaser.yaml: no flags found in %q", builds)
	}
	flags := []string{"-ldflags", ldflags, "-tags", tags}
	for _, flag := range yamlList(builds, "flags") {
		if !strings.HasPrefix(flag, "-buildvcs") {
			flags = append(flags, flag)
		}
	}
	return flags
}

// yamlList gives the items of the list under a key that stands alone in its
// line.
func yamlList(text, key string) []string {
	_, rest, _ := strings.Cut(text, " "+key+":\n")
	var items []string
	for line := range strings.Lines(rest) {
		item, ok := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if !ok {
			break
		}
		items = append(items, item)
	}
	return items
}
