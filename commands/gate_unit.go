package commands

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
)

func gateUnitCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "unit",
		Usage:     "print a hardened unit file of systemd for a gate",
		ArgsUsage: "[FLAG…]",
		Long:      "What follows -- are the flags of the gate.",
		Example:   "mutual gate unit --user mutual -- --to http://127.0.0.1:8080 --allow-all >/etc/systemd/system/mutual-gate.service",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "run it as `USER`, who owns the PKI", Value: "mutual"},
			&cli.StringFlag{Name: "exec", Usage: "the program lies in `FILE`", Value: "/usr/local/bin/mutual"},
		},
		MaxArgs: anyNumber,
		Action:  runGateUnit,
	})
}

// gateUnit is the unit. The gate needs its PKI, which it reads and for SQLite's
// companions of the database writes, its state, and the network; nothing else of
// the system.
const gateUnit = `[Unit]
Description=Gate that lets in who has a genuine client certificate
Documentation=man:mutual(1)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
User={{user}}
ExecStart={{exec}} gate --pki {{pki}} --state %S/mutual --log %L/mutual/gate.jsonl {{flags}}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
TimeoutStopSec=30
StateDirectory=mutual
StateDirectoryMode=0700
RuntimeDirectory=%N
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=%t/%N
LogsDirectory=mutual
LogsDirectoryMode=0750
ReadWritePaths={{writable}}
LimitNOFILE=65536
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
`

type gateUnitView struct {
	Unit string `json:"unit"`
}

// Text implements view.
func (v *gateUnitView) Text(p *ui.Printer) error {
	for line := range strings.Lines(v.Unit) {
		if err := p.Printf("%s\n", strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
	return nil
}

func runGateUnit(_ context.Context, r *run, c *cli.Context) error {
	dir, err := r.pkiDir()
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	if user := c.String("user"); !userName.MatchString(user) {
		return usagef("%q is no name of a user", user)
	}
	if err := checkUnitFlags(c.Args().Slice()); err != nil {
		return withHint(err, "such as: mutual gate unit -- --to http://127.0.0.1:8080 --allow-all")
	}
	var flags []string
	for _, word := range c.Args().Slice() {
		flags = append(flags, unitWord(word))
	}
	unit := strings.NewReplacer("{{user}}", c.String("user"), "{{exec}}", unitWord(c.String("exec")), "{{pki}}", unitWord(dir),
		"{{writable}}", unitPath(dir), "{{flags}}", strings.Join(flags, " ")).Replace(gateUnit)
	return r.emit(&gateUnitView{Unit: unit})
}

// checkUnitFlags refuses what no gate would start with.
func checkUnitFlags(words []string) error {
	l, err := parseLine(gateCommand(), words)
	switch {
	case err != nil:
		return err
	case len(l.args) > 0 || len(l.path) > 0:
		return usagef("%q is no flag of a gate", words[0])
	}
	given := map[string]bool{}
	for _, f := range l.flags {
		given[f.flag.Names()[0]] = true
		usage := f.flag.(cli.DocGenerationFlag).GetUsage()
		isPath := strings.Contains(usage, "`FILE`") || strings.Contains(usage, "`DIR`") || strings.Contains(usage, "`PATH`")
		if isPath && !filepath.IsAbs(f.value) && !strings.Contains(f.value, "://") {
			return usagef("%s %s: a unit starts in no directory of yours, and needs the whole path", f.typed, f.value)
		}
	}
	switch {
	case !given["to"]:
		return usagef("the gate needs --to UPSTREAM")
	case !given["allow"] && !given["rules"] && !given["allow-all"]:
		return usagef("the gate needs to know whom to let in: --allow PATTERN, --rules FILE or --allow-all")
	}
	return nil
}

// userName is what systemd takes in a unit.
var userName = regexp.MustCompile(`^(?:[A-Za-z_][A-Za-z0-9_.-]*|[0-9]+)$`)

// unitWord writes a word of a command as systemd reads it back.
func unitWord(s string) string { return unitPath(strings.ReplaceAll(s, "$", "$$")) }

// unitPath writes a path as systemd reads it back, where $ means nothing.
func unitPath(s string) string {
	s = strings.NewReplacer("%", "%%", `\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
	if strings.ContainsAny(s, " \t'\";") {
		return `"` + s + `"`
	}
	return s
}
