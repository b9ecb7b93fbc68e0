package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mutual/pki/pkitest/tools"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain makes the test binary stand in for the program: in a script,
// "mutual" is Main, and "frame" is the same frame around the commands of
// frame_test.go.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mutual": func() { os.Exit(Main(os.Args[1:], scriptEnv())) },
		"frame": func() {
			ctx, stop := interruptible(context.Background())
			defer stop()
			os.Exit(mainWith(ctx, os.Args[1:], scriptEnv(), append(frameCommands(), completeCommand())))
		},
	})
}

// scriptEnv is the process's Env with the time that $MUTUAL_TEST_NOW says: a
// time in RFC 3339, or what to add to the real time, such as -1h or +40d. Only
// the test binary knows that variable.
func scriptEnv() Env {
	env := SystemEnv("v0.0.0-test")
	text := os.Getenv("MUTUAL_TEST_NOW")
	if text == "" {
		return env
	}
	now, err := testClock(text)
	if err != nil {
		panic(err)
	}
	env.Now = now
	return env
}

func testClock(text string) (func() time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return func() time.Time { return at }, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		return func() time.Time { return time.Now().AddDate(0, 0, n) }, err
	}
	offset, err := time.ParseDuration(text)
	return func() time.Time { return time.Now().Add(offset) }, err
}

// TestScript runs every script of testdata/script. A script has a home of its
// own, an empty standard input, and no variable of ours.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "../testdata/script",
		RequireUniqueNames: true,
		UpdateScripts:      *update,
		Setup:              setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exitsCommand,
			"jsoneq":  jsonEqualCommand,
			"jsonget": jsonGetCommand,
			"mounts":  mountsCommand,
			"slow":    slowCommand,
			"tools":   toolsCommand,
		},
	})
}

// theTest is the key of a script's testscript.T.
type theTest struct{}

// concurrent are the scripts of commands that do several things at once: the race
// detector, which makes a process five times slower, looks at these.
var concurrent = []string{
	"batch-disk", "crl", "demo", "hold", "init", "issue", "issue-batch", "issue-format", "probe-usage", "publish",
	"renew-crl", "renew-due", "renew-exec", "renew-in-place", "revoke", "sign",
}

func setUpScript(e *testscript.Env) error {
	e.Values[theTest{}] = e.T()
	if name := strings.TrimPrefix(filepath.Base(e.WorkDir), "script-"); racing && !slices.Contains(concurrent, name) {
		e.T().Skip("not with the race detector: it does one thing after the other")
	}
	bundles, err := filepath.Abs("../testdata/bundles")
	if err != nil {
		return err
	}
	e.Setenv("BUNDLES", bundles)
	home := filepath.Join(e.WorkDir, "home")
	e.Setenv("HOME", home)
	e.Setenv("GORACE", "atexit_sleep_ms=0")
	e.Setenv("MUTUAL_REQUIRE_TOOLS", os.Getenv("MUTUAL_REQUIRE_TOOLS"))
	e.Setenv("MUTUAL_VECTORS", os.Getenv("MUTUAL_VECTORS"))
	for name, dir := range map[string]string{
		"XDG_DATA_HOME":   "data",
		"XDG_STATE_HOME":  "state",
		"XDG_CONFIG_HOME": "config",
		"XDG_CACHE_HOME":  "cache",
		"XDG_RUNTIME_DIR": "run",
		"LocalAppData":    "data",
	} {
		dir = filepath.Join(home, dir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		e.Setenv(name, dir)
	}
	return nil
}

// exitsCommand is "exits CODE COMMAND ARGS…": the command ends with exactly
// that code.
func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("%s exited with %d, want %d", args[1], code, want)
	}
}

// jsonEqualCommand is "jsoneq FILE PATH VALUE", where FILE may be stdout and
// PATH is such as certificates.0.state, or certificates.length for their number.
// With "!" the value is another one or missing.
func jsonEqualCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: jsoneq FILE PATH VALUE")
	}
	got, err := jsonAt(ts.ReadFile(args[0]), args[1])
	switch {
	case neg && err == nil && got == args[2]:
		ts.Fatalf("%s is %q", args[1], got)
	case !neg && err != nil:
		ts.Fatalf("%v", err)
	case !neg && got != args[2]:
		ts.Fatalf("%s is %q, want %q", args[1], got, args[2])
	}
}

// jsonGetCommand is "jsonget FILE PATH VARIABLE".
func jsonGetCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: jsonget FILE PATH VARIABLE")
	}
	got, err := jsonAt(ts.ReadFile(args[0]), args[1])
	ts.Check(err)
	ts.Setenv(args[2], got)
}

// jsonAt gives the value at path in a JSON document, or in the list of
// documents if there are more, which JSON lines are: a string as it is,
// anything else as JSON.
func jsonAt(text, path string) (string, error) {
	v, err := jsonDocuments(text)
	if err != nil {
		return "", err
	}
	for key := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[key]
			if !ok {
				return "", fmt.Errorf("%s: there is no %q", path, key)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			switch {
			case key == "length":
				v = json.Number(strconv.Itoa(len(at)))
			case err != nil || i < 0 || i >= len(at):
				return "", fmt.Errorf("%s: %q is no index into %d elements", path, key, len(at))
			default:
				v = at[i]
			}
		default:
			return "", fmt.Errorf("%s: nothing is below %v", path, v)
		}
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func jsonDocuments(text string) (any, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	var all []any
	for {
		var v any
		if err := d.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading JSON: %w", err)
		}
		all = append(all, v)
	}
	switch len(all) {
	case 0:
		return nil, errors.New("there is no JSON")
	case 1:
		return all[0], nil
	}
	return all, nil
}

// toolsCommand is "tools PROGRAM…": without one of them the script is skipped
// or, with MUTUAL_REQUIRE_TOOLS=1, fails.
func toolsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: tools PROGRAM…")
	}
	text := tools.Missing(args...)
	switch {
	case testing.Short():
		text = "not with -short: it drives " + strings.Join(args, ", ")
	case text == "":
		return
	case tools.Required():
		ts.Fatalf("%s", text)
	}
	ts.Value(theTest{}).(testscript.T).Skip(text)
}

// slowCommand is "slow WHY": with -short the script is skipped.
func slowCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: slow WHY")
	}
	if testing.Short() {
		ts.Value(theTest{}).(testscript.T).Skip("not with -short: " + args[0])
	}
}

// mountsCommand is "mounts": a script that mounts disks of its own is skipped
// where that is impossible for the user.
func mountsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: mounts")
	}
	if why := tools.NoMounts(); why != "" {
		ts.Value(theTest{}).(testscript.T).Skip(why)
	}
}
