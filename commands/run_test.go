package commands

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mutual/commands/ui"
)

func finishQuietly(ctx context.Context, err error) int {
	var sink bytes.Buffer
	return finish(ctx, ui.NewPrinter(&sink, ui.Options{}), err)
}

func TestDataDir(t *testing.T) {
	for _, tt := range []struct {
		goos string
		vars map[string]string
		want string
	}{
		{"linux", map[string]string{"HOME": "/h"}, "/h/.local/share"},
		{"linux", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x"},
		{"linux", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "relative"}, "/h/.local/share"},
		{"linux", map[string]string{"XDG_DATA_HOME": "/x"}, "/x"},
		{"linux", nil, ""},
		{"darwin", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/h/Library/Application Support"},
		{"darwin", nil, ""},
		{"windows", map[string]string{"LocalAppData": `C:\l`, "HOME": "/h"}, `C:\l`},
		{"windows", map[string]string{"HOME": "/h"}, ""},
	} {
		got := dataDir(tt.goos, func(name string) string { return tt.vars[name] })
		if filepath.ToSlash(got) != filepath.ToSlash(tt.want) {
			t.Errorf("%s %v: %q, want %q", tt.goos, tt.vars, got, tt.want)
		}
	}
}

func TestPKIDir(t *testing.T) {
	vars := map[string]string{"HOME": "/h", "LocalAppData": "/h"}
	r := &run{env: testEnv(vars, nil, nil)}
	if dir, err := r.pkiDir(); err != nil || filepath.Base(dir) != "mutual" {
		t.Errorf("by default %q, %v", dir, err)
	}
	vars[envPKI] = "env"
	if dir, _ := r.pkiDir(); dir != "env" {
		t.Errorf("with $%s: %q", envPKI, dir)
	}
	r.pkiFlag = "flag"
	if dir, _ := r.pkiDir(); dir != "flag" {
		t.Errorf("with --pki: %q", dir)
	}
	r = &run{env: testEnv(map[string]string{}, nil, nil)}
	if _, err := r.pkiDir(); err == nil || !strings.Contains(hintOf(err), "--pki") {
		t.Errorf("without a home: %v, hint %q", err, hintOf(err))
	}
}

func TestColorIsDecidedPerStream(t *testing.T) {
	for _, tt := range []struct {
		name     string
		mode     string
		terminal bool
		vars     map[string]string
		want     bool
	}{
		{"terminal", "", true, nil, true},
		{"no terminal", "", false, nil, false},
		{"auto", colorAuto, true, nil, true},
		{"NO_COLOR", "", true, map[string]string{"NO_COLOR": "1"}, false},
		{"empty NO_COLOR", "", true, map[string]string{"NO_COLOR": ""}, true},
		{"dumb", "", true, map[string]string{"TERM": "dumb"}, false},
		{"CLICOLOR_FORCE", "", false, map[string]string{"CLICOLOR_FORCE": "1"}, false},
		{"always", colorAlways, false, map[string]string{"NO_COLOR": "1"}, true},
		{"never", colorNever, true, nil, false},
	} {
		var out bytes.Buffer
		env := testEnv(tt.vars, nil, nil)
		p := env.printer(Output{Writer: &out, Terminal: tt.terminal}, tt.mode)
		_ = p.Heading("x")
		_ = p.Message(ui.SeverityError, "x")
		_ = p.Flush()
		if got := strings.Contains(out.String(), "\x1b["); got != tt.want {
			t.Errorf("%s: colour %t, want %t (%q)", tt.name, got, tt.want, out.String())
		}
	}
}

func TestNowIsUTCInWholeSeconds(t *testing.T) {
	env := testEnv(nil, nil, nil)
	env.Now = func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 999, time.FixedZone("x", 3600)) }
	r := &run{env: env}
	if got, want := r.now(), time.Date(2026, 3, 4, 4, 6, 7, 0, time.UTC); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// failingWriter fails after some octets, as a full disk does.
type failingWriter struct{ left int }

var errFull = errors.New("the disk is full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		return 0, errFull
	}
	w.left -= len(b)
	return len(b), nil
}

func TestFailedWriteCounts(t *testing.T) {
	for _, words := range [][]string{
		{"--help"}, {"--version"}, {"--version", "--json"}, {"revoke", "x"}, {"revoke", "x", "--json"},
		{"rows"}, {"rows", "--json"}, {"talk", "bad"}, {"help"}, {"issue", "--help"},
	} {
		var stderr bytes.Buffer
		env := testEnv(map[string]string{"HOME": "/h"}, nil, &stderr)
		env.Stdout = Output{Writer: &failingWriter{}}
		commands := append(frameCommands(), helpCommand())
		if code := mainWith(t.Context(), words, env, commands); code != exitFailed {
			t.Errorf("%q: exit code %d", words, code)
		}
		if want := "mutual: error: writing to standard output: the disk is full\n"; !strings.HasSuffix(stderr.String(), want) {
			t.Errorf("%q: %q", words, stderr.String())
		}
	}
}

func TestVersion(t *testing.T) {
	if got := frame(t, "--version"); got != (result{0, "mutual v1.2.3\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got := frame(t, "--version", "--json"); got != (result{0, "{\n  \"version\": \"v1.2.3\"\n}\n", ""}) {
		t.Errorf("%+v", got)
	}
	if recordedVersion() == "" {
		t.Error("a build without a linker flag has no version")
	}
}

func TestJSONOfAView(t *testing.T) {
	got := frame(t, "revoke", "<a&b>\u202e", "--json", "--pki", "d")
	want := "{\n  \"args\": [\n    \"<a&b>\\u202e\"\n  ],\n  \"reason\": \"\",\n  \"names\": null,\n  \"dryRun\": false,\n  \"pki\": \"d\"\n}\n"
	if got.code != 0 || got.stdout != want {
		t.Errorf("%+v, want %q", got, want)
	}
}
