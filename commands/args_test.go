package commands

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestParseLine(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"", "mutual"},
		{"revoke alice", "mutual revoke -- alice"},
		{"revoke alice --reason keyCompromise", "mutual revoke --reason=keyCompromise -- alice"},
		{"revoke --reason keyCompromise alice", "mutual revoke --reason=keyCompromise -- alice"},
		{"revoke alice --reason=keyCompromise bob", "mutual revoke --reason=keyCompromise -- alice bob"},
		{"revoke -reason keyCompromise alice", "mutual revoke --reason=keyCompromise -- alice"},
		{"revoke --name a,b --name c", "mutual revoke --name=a,b --name=c --"},
		{"revoke alice -- --reason bob", "mutual revoke -- alice --reason bob"},
		{"revoke alice -- -- bob", "mutual revoke -- alice -- bob"},
		{"revoke -", "mutual revoke -- -"},
		{"revoke - --json", "mutual revoke --json=true -- -"},
		{"revoke alice --json=false", "mutual revoke --json=false -- alice"},
		{"revoke --reason=--json alice", "mutual revoke --reason=--json -- alice"},
		{"revoke --reason -1h alice", "mutual revoke --reason=-1h -- alice"},
		{"revoke help", "mutual revoke -- help"},
		{"revoke h", "mutual revoke -- h"},
		{"revoke client", "mutual revoke -- client"},
		{"revoke revoke", "mutual revoke -- revoke"},
		{"issue client server", "mutual issue client -- server"},
		{"issue client help", "mutual issue client -- help"},
		{"--json --pki d revoke alice", "mutual revoke --json=true --pki=d -- alice"},
		{"-q issue --pki=d client alice --json", "mutual issue client --quiet=true --pki=d --json=true -- alice"},
		{"--passphrase-file p revoke alice", "mutual revoke --passphrase-file=p -- alice"},
		{"-- revoke --json", "mutual revoke -- --json"},
		{"--json", "mutual --json=true"},
		{"issue", "mutual issue"},
		{"revoke --reason x alice --exec ls -l --reason y -- z", "mutual revoke --reason=x --exec=ls --exec=-l --exec=--reason --exec=y --exec=-- --exec=z -- alice"},
		{"revoke alice --exec=ls --help", "mutual revoke --exec=ls --exec=--help -- alice"},
		{"revoke alice -- --exec ls", "mutual revoke -- alice --exec ls"},
	} {
		l, err := parseLine(rootCommand(frameCommands()), strings.Fields(tt.line))
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		if got := strings.Join(l.normal("mutual"), " "); got != tt.want {
			t.Errorf("%q is read as %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestParseLineRefuses(t *testing.T) {
	for _, tt := range []struct{ line, want, hint string }{
		{"lst", `unknown command "lst"`, `"mutual --help" lists the commands`},
		{"revok alice", `unknown command "revok"`, `did you mean "revoke"?`},
		{"reovke alice", `unknown command "reovke"`, `did you mean "revoke"?`},
		{"rev alice", `unknown command "rev"`, `did you mean "revoke"?`},
		{"issue clent alice", `unknown command "issue clent"`, `did you mean "issue client"?`},
		{"issue h", `unknown command "issue h"`, `did you mean "issue client h"?`},
		{"revoke --reason= alice", `flag --reason has an empty value`, `leave the flag out, or give it a value`},
		{"revoke alice --raeson x", `unknown flag "--raeson" of "mutual revoke"`, `did you mean "--reason"?`},
		{"revoke alice --zzz=x", `unknown flag "--zzz" of "mutual revoke"`, `"mutual revoke --help" lists the flags; "--" goes before an argument that begins with "-"`},
		{"revoke alice -qj", `unknown flag "-qj" of "mutual revoke"`, `"mutual revoke --help" lists the flags; "--" goes before an argument that begins with "-"`},
		{"revoke -5", `unknown flag "-5" of "mutual revoke"`, `"mutual revoke --help" lists the flags; "--" goes before an argument that begins with "-"`},
		{"revoke ---json", `unknown flag "---json" of "mutual revoke"`, `did you mean "--json"?`},
		{"revoke --=x", `unknown flag "--" of "mutual revoke"`, `"mutual revoke --help" lists the flags; "--" goes before an argument that begins with "-"`},
		{"--reason x revoke alice", `unknown flag "--reason"`, `only the flags that every command has may stand before its name; "mutual --help" lists the commands`},
		{"issue --ttl 3d client alice", `unknown flag "--ttl" of "mutual issue"`, `only the flags that every command has may stand before its name; "mutual issue --help" lists the commands`},
		{"--passphrase-file p issue client alice", `"mutual issue client" has no flag --passphrase-file`, `"mutual issue client --help" lists the flags`},
		{"--version revoke alice", `"mutual revoke" has no flag --version`, `"mutual revoke --help" lists the flags`},
		{"revoke alice --version", `unknown flag "--version" of "mutual revoke"`, ``},
		{"revoke alice -v", `unknown flag "-v" of "mutual revoke"`, ``},
		{"-v", `unknown flag "-v"`, ``},
		{"revoke alice --reason", `flag --reason needs a value`, `"mutual revoke --help" lists the flags`},
		{"revoke alice --reason --json", `flag --reason needs a value`, ``},
		{"revoke --reason -- alice", `flag --reason needs a value`, ``},
		{"--pki", `flag --pki needs a value`, `"mutual --help" lists the flags`},
		{"revoke --reason a --reason b x", `flag --reason is given more than once`, ``},
		{"--json revoke x --json", `flag --json is given more than once`, ``},
		{"revoke x -q --quiet", `flag --quiet is given more than once`, ``},
		{"revoke x --json=false --json", `flag --json is given more than once`, ``},
		{"revoke x --json=maybe", `flag --json takes no value but true or false, and got "maybe"`, ``},
	} {
		_, err := parseLine(rootCommand(frameCommands()), strings.Fields(tt.line))
		if err == nil || err.Error() != tt.want || codeOf(err) != exitUsage {
			t.Errorf("%q: %v (exit code %d), want %s", tt.line, err, codeOf(err), tt.want)
		} else if tt.hint != "" && hintOf(err) != tt.hint {
			t.Errorf("%q: hint %s, want %s", tt.line, hintOf(err), tt.hint)
		}
	}
}

// Whatever is on the line, no word is lost, and what is normalised reads the
// same again.
func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"revoke alice --reason x", "--json issue client h", "revoke -- -", "revoke --name=a,b --name c -q", "--help", "issue --pki x server *.e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root := rootCommand(frameCommands())
		words := strings.Split(text, " ")
		l, err := parseLine(root, words)
		if err != nil {
			if codeOf(err) != exitUsage {
				t.Fatalf("%q: exit code %d: %v", text, codeOf(err), err)
			}
			return
		}
		if isGroup(l.command) || l.has(flagHelp) {
			return
		}
		count := len(l.path) + len(l.args)
		for _, v := range l.flags {
			count++
			if takesValue(v.flag) && !slices.ContainsFunc(words, func(w string) bool {
				return strings.HasPrefix(w, "-") && strings.HasSuffix(w, "="+v.value)
			}) {
				count++
			}
		}
		if l.ended {
			count++
		}
		if count > len(words) {
			t.Fatalf("%q: %d words became %d", text, len(words), count)
		}
		again, err := parseLine(root, l.normal("")[1:])
		if err != nil || !slices.Equal(again.args, l.args) || !slices.Equal(again.path, l.path) || len(again.flags) != len(l.flags) {
			t.Fatalf("%q became %q and then %+v, %v", text, l.normal(""), again, err)
		}
	})
}

// What parseLine understood is what urfave/cli hands to the action.
func TestLineReachesTheAction(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"revoke alice --reason superseded bob", `args ["alice" "bob"] reason "superseded" names [] dryRun false`},
		{"revoke help", `args ["help"] reason "" names [] dryRun false`},
		{"revoke h --dry-run", `args ["h"] reason "" names [] dryRun true`},
		{"revoke client", `args ["client"] reason "" names [] dryRun false`},
		{"revoke -- --help", `args ["--help"] reason "" names [] dryRun false`},
		{"revoke -- -h", `args ["-h"] reason "" names [] dryRun false`},
		{"revoke -- --generate-bash-completion", `args ["--generate-bash-completion"] reason "" names [] dryRun false`},
		{"revoke --name CN=a,O=b --name *,c x", `args ["x"] reason "" names ["CN=a,O=b" "*,c"] dryRun false`},
		{"issue client client", `args ["client"] reason "" names [] dryRun false`},
		{"issue client help", `args ["help"] reason "" names [] dryRun false`},
		{"revoke a --reason x --exec sh -c a,b --json", `args ["a"] reason "x" exec ["sh" "-c" "a,b" "--json"]`},
		{"issue server h", `args ["h"] reason "" names [] dryRun false`},
	} {
		got := frame(t, strings.Fields(tt.line)...)
		if got.code != 0 || got.stdout != tt.want+"\n" || got.stderr != "" {
			t.Errorf("%q: %+v, want %s", tt.line, got, tt.want)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"issue", "mutual: error: \"mutual issue\" needs a command: client, server\nmutual: hint: \"mutual issue --help\" says what they do\n"},
		{"issue --json", "mutual: error: \"mutual issue\" needs a command: client, server\nmutual: hint: \"mutual issue --help\" says what they do\n"},
		{"revoke", "mutual: error: \"mutual revoke\" needs WHAT…\nmutual: hint: usage: mutual revoke [flags] WHAT…\n"},
		{"issue client a b", "mutual: error: unexpected argument \"b\"\nmutual: hint: usage: mutual issue client [flags] NAME\n"},
		{"rows x", "mutual: error: unexpected argument \"x\"\nmutual: hint: usage: mutual rows [flags]\n"},
		{"revoke x --exec", "mutual: error: flag --exec needs a command, which takes the rest of the line\nmutual: hint: \"mutual revoke --help\" lists the flags\n"},
		{"revoke x --exec=", "mutual: error: flag --exec needs a command, which takes the rest of the line\nmutual: hint: \"mutual revoke --help\" lists the flags\n"},
		{"revoke x --count many", "mutual: error: invalid value \"many\" for flag --count: parse error\n"},
		{"revoke x --color blue", "mutual: error: --color \"blue\" is none of auto, always, never\n"},
		{"--color blue", "mutual: error: --color \"blue\" is none of auto, always, never\n"},
		{"revoke x --pki=", "mutual: error: flag --pki has an empty value\nmutual: hint: leave the flag out, or give it a value\n"},
		{"revoke x --passphrase-fd 1", "mutual: error: --passphrase-fd 1 is not a file descriptor to read from\n"},
		{"revoke x --passphrase-fd 3 --passphrase-file p", "mutual: error: the passphrase has more than one source: --passphrase-file, --passphrase-fd\nmutual: hint: give one\n"},
		{"revoke x --passphrase-file=", "mutual: error: flag --passphrase-file has an empty value\nmutual: hint: leave the flag out, or give it a value\n"},
	} {
		got := frame(t, strings.Fields(tt.line)...)
		if got.code != exitUsage || got.stdout != "" || got.stderr != tt.want {
			t.Errorf("%q: %+v, want %q", tt.line, got, tt.want)
		}
	}
}

func TestClosest(t *testing.T) {
	candidates := []string{"list", "revoke", "hold", "unhold", "q"}
	for word, want := range map[string]string{
		"lsit": "list", "lists": "list", "rev": "revoke", "holdd": "hold", "unhld": "unhold",
		"banana": "", "x": "", "l": "", "": "", strings.Repeat("a", 1<<20): "",
	} {
		if got := closest(word, candidates); got != want {
			t.Errorf("closest(%.10q) = %q, want %q", word, got, want)
		}
	}
}

// Every command below the app has no help command of its own: "revoke h" must
// never print help and revoke nothing.
func TestNoCommandHasHiddenHelp(t *testing.T) {
	var walk func(c *cli.Command)
	walk = func(c *cli.Command) {
		if !c.HideHelp {
			t.Errorf("%s: HideHelp is false", c.Name)
		}
		if c.OnUsageError == nil {
			t.Errorf("%s: OnUsageError is nil", c.Name)
		}
		for _, sub := range c.Subcommands {
			walk(sub)
		}
	}
	for _, c := range append(tree(), frameCommands()...) {
		walk(c)
	}
}
