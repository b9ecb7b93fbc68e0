package commands

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/gate"
)

// configure reads the command line, and the rules. Whatever is wrong there is said
// before anything is opened.
func (j *gateJob) configure(c *cli.Context) error {
	j.config = gate.Config{
		Now: j.r.env.Now, Lease: c.Duration("lease"), Drain: c.Duration("drain"), RefuseWith: c.Int("refuse-with"),
		Header: gate.HeaderStyle(c.String("header")),
		Warn:   func(text string) { j.r.warn("%s", text) },
		Limits: gate.Limits{
			Connections: possibleConnections(c.Int("max-connections")), PerIdentity: c.Int("max-per-identity"), Requests: c.Int("max-requests"), Rate: c.Float64("rate"),
			Handshake: c.Duration("handshake-timeout"), Header: c.Duration("header-timeout"), Idle: c.Duration("idle-timeout"), HeaderBytes: c.Int("max-header"),
		},
	}
	for _, check := range []func(*cli.Context) error{j.checkChoices, j.checkNumbers, j.upstream} {
		if err := check(c); err != nil {
			return err
		}
	}
	return j.rules(c)
}

// open opens what the gate relies on. A certificate is issued last.
func (j *gateJob) open(ctx context.Context, c *cli.Context) error {
	if err := j.source(c); err != nil {
		return err
	}
	if err := j.openLog(c); err != nil {
		return err
	}
	return j.certificate(ctx, c)
}

func (j *gateJob) checkChoices(c *cli.Context) error {
	rules := 0
	for _, flag := range []string{"allow", "rules", "allow-all"} {
		if c.IsSet(flag) {
			rules++
		}
	}
	files := c.String("ca") != ""
	switch style := j.config.Header; {
	case c.String("to") == "":
		return withHint(usagef("%q needs --to UPSTREAM", c.Command.HelpName), "such as: --to http://127.0.0.1:8080")
	case rules == 0:
		return withHint(usagef("no rule says who may come in"), "name them with --allow PATTERN or --rules FILE, or let in whoever is genuine with --allow-all")
	case rules > 1:
		return usagef("--allow, --rules and --allow-all exclude each other")
	case style != gate.HeaderNone && style != gate.HeaderXFCC && style != gate.HeaderNginx:
		return usagef("--header %q is none of none, xfcc, nginx", style)
	case c.Bool("tcp") && (c.IsSet("header") || c.IsSet("refuse-with") || c.IsSet("to-ca") || c.IsSet("header-timeout") || c.IsSet("idle-timeout") || c.IsSet("max-header")):
		return usagef("with --tcp there is no HTTP: --header, --refuse-with, --to-ca, --header-timeout, --idle-timeout and --max-header exclude it")
	case c.Bool("proxy-protocol") && !c.Bool("tcp"):
		return usagef("--proxy-protocol needs --tcp")
	case c.IsSet("refuse-with") && (j.config.RefuseWith < 400 || j.config.RefuseWith > 599):
		return usagef("--refuse-with %d is no status of HTTP that refuses", j.config.RefuseWith)
	case (c.String("cert") == "") != (c.String("key") == ""):
		return usagef("--cert and --key belong together")
	case c.IsSet("cert") && c.IsSet("name"):
		return usagef("--cert and --name exclude each other")
	case files && c.IsSet("pki"):
		return usagef("--ca and --pki exclude each other")
	case files && len(c.StringSlice("crl")) == 0:
		return withHint(usagef("--ca needs --crl: without a revocation list nothing can be told of any certificate"), "a PKI of mutual keeps its lists in crl/chain.pem")
	case files && c.String("cert") == "":
		return usagef("--ca needs --cert and --key: there is no PKI to issue from")
	case !files && (c.IsSet("crl") || c.IsSet("crl-expired") || c.IsSet("control")):
		return usagef("--crl, --crl-expired and --control need --ca: with a PKI its inventory says who is revoked")
	case files && (c.IsSet("any-genuine") || c.IsSet("accept-rollback") || c.IsSet("state") || c.IsSet("lease")):
		return usagef("--any-genuine, --accept-rollback, --state and --lease are for a PKI: --ca excludes them, and the lists say themselves until when they hold")
	case c.String("crl-expired") != "refuse" && c.String("crl-expired") != "serve":
		return usagef("--crl-expired %q is neither refuse nor serve", c.String("crl-expired"))
	}
	return nil
}

func (j *gateJob) checkNumbers(c *cli.Context) error {
	for _, flag := range []string{"handshake-timeout", "header-timeout", "idle-timeout", "lease"} {
		if c.Duration(flag) <= 0 {
			return usagef("--%s %v is not longer than nothing", flag, c.Duration(flag))
		}
	}
	for _, flag := range []string{"max-connections", "max-per-identity", "max-requests", "max-header"} {
		if c.Int(flag) <= 0 {
			return usagef("--%s %d is less than one", flag, c.Int(flag))
		}
	}
	if c.IsSet("rate") && !(c.Float64("rate") >= 0.001 && c.Float64("rate") <= 1e9) { // NaN is no rate either
		return usagef("--rate %v is no number of requests a second", c.Float64("rate"))
	}
	if c.Duration("drain") < 0 {
		return usagef("--drain %v is less than nothing", c.Duration("drain"))
	}
	return nil
}

func (j *gateJob) upstream(c *cli.Context) error {
	var err error
	if c.Bool("tcp") {
		j.config.Upstream, err = gate.ParseRawUpstream(c.String("to"), c.Bool("proxy-protocol"))
	} else {
		j.config.Upstream, err = gate.ParseUpstream(c.String("to"))
	}
	if err != nil {
		return usage(err)
	}
	if !j.config.Upstream.Local() && !c.Bool("to-remote") {
		return withHint(usagef("the upstream %s is not on this machine: who can reach it needs no certificate", j.config.Upstream),
			"if the network between is closed to everyone else: --to-remote")
	}
	if file := c.String("to-ca"); file != "" {
		cas, err := j.r.readCertificates(file)
		if err != nil {
			return err
		}
		j.config.Upstream = j.config.Upstream.WithRoots(cas)
	}
	return nil
}

func (j *gateJob) rules(c *cli.Context) error {
	var err error
	switch file := c.String("rules"); {
	case file != "":
		j.config.Rules, err = gate.RulesFile(file, j.r.now())
		return err
	case c.Bool("allow-all"):
		j.config.Rules = gate.FixedRules(gate.AllowAll())
		return nil
	}
	rules, err := gate.Allow(c.StringSlice("allow"))
	if err != nil {
		return usage(err)
	}
	j.config.Rules = gate.FixedRules(rules)
	return nil
}

// gatesDir is where the gates of a PKI on this machine are found.
const gatesDir = "gates"

func (j *gateJob) source(c *cli.Context) error {
	if ca := c.String("ca"); ca != "" {
		return j.fileSource(c, ca)
	}
	dir, err := j.r.pkiDir()
	if err != nil {
		return err
	}
	state, err := j.r.stateDir(c.String("state"))
	if err != nil {
		return err
	}
	source := gate.NewPKISource(dir, gate.PKIConfig{
		Options: j.r.followOptions(), AnyGenuine: c.Bool("any-genuine"), Memory: state, AcceptRollback: c.Bool("accept-rollback"),
	})
	j.config.Source = source
	j.closers = append(j.closers, func() { _ = source.Close() }) // only read
	if _, err := os.Stat(filepath.Join(dir, "mutual.db")); err != nil {
		return nil // the first look says what is wrong
	}
	j.control, err = gate.ListenControl(filepath.Join(dir, gatesDir), runtimeDir(j.r.env.Getenv), j.listen)
	if err == nil {
		j.closers = append(j.closers, j.control.Close)
	}
	return err
}

func (j *gateJob) fileSource(c *cli.Context, ca string) error {
	source, err := gate.NewFileSource(gate.FileConfig{
		CA: ca, CRLs: c.StringSlice("crl"), ServeExpired: c.String("crl-expired") == "serve", Now: j.r.env.Now,
	})
	if err != nil {
		return err
	}
	j.config.Source = source
	j.closers = append(j.closers, func() { _ = source.Close() }) // only read
	if path := c.String("control"); path != "" {
		if j.control, err = gate.ListenControlAt(path, j.listen); err != nil {
			return err
		}
		j.closers = append(j.closers, j.control.Close)
	}
	return nil
}

// stateDir is where what is remembered of a PKI is kept outside it.
func (r *run) stateDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	getenv := r.env.Getenv
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) && runtime.GOOS != "windows" {
		return filepath.Join(dir, "mutual"), nil
	}
	switch home := getenv("HOME"); {
	case runtime.GOOS == "windows" && getenv("LocalAppData") != "":
		return filepath.Join(getenv("LocalAppData"), "mutual-state"), nil
	case home != "":
		return filepath.Join(home, ".local", "state", "mutual"), nil
	}
	return "", failf("name a directory with --state DIR", "finding the user's state directory: the environment does not say where it is")
}

// runtimeDir is where sockets go whose path would be too long.
func runtimeDir(getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return dir
	}
	return os.TempDir()
}

// openLog opens the access log: a file to append to, or the standard output.
func (j *gateJob) openLog(c *cli.Context) error {
	file := c.String("log")
	open := func() (io.WriteCloser, error) { return nopCloser{j.r.env.Stdout.Writer}, nil }
	if file != "" {
		open = func() (io.WriteCloser, error) {
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				return nil, fmt.Errorf("opening the access log: %w", err)
			}
			return f, nil
		}
	}
	var err error
	if j.config.Log, err = gate.NewLog(open, c.Bool("log-must-write")); err != nil {
		return err
	}
	j.closers = append(j.closers, func() {
		if err := j.config.Log.Close(); err != nil {
			j.r.warn("the last of the access log could not be written: %v", err)
		}
	})
	return nil
}

type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// localNames are the names of a gate's certificate where none is given.
func localNames() []string {
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "localhost" && net.ParseIP(host) == nil {
		names = append(names, host)
	}
	return names
}

// lifeLeft reports whether a third of a life is left: a certificate that lies there
// is else replaced when the gate starts.
func lifeLeft(notBefore, notAfter, now time.Time) bool {
	return now.Before(pki.TwoThirds(notBefore, notAfter))
}
