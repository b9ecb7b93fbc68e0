package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki/probe"
)

const (
	// probeLifetime is how long the certificate of --as is valid.
	probeLifetime = "5m"
	// probeParallel is how many targets are probed at once, and maxParallel the
	// most that may be.
	probeParallel, maxParallel = 16, 1024
)

func probeCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "probe",
		Category:  categoryEnforcing,
		Usage:     "find out whether an endpoint really enforces client certificates",
		ArgsUsage: "TARGET…",
		Long: "A TARGET is HOST[:PORT], [V6]:PORT, https://HOST/PATH, tls://HOST:PORT, @FILE with a target on each line, or - for such a list on standard input.\n\n" +
			"Connects as nobody, with your certificate if one is given, as a stranger with a self-made one, as an impostor with a copy of yours or with the " +
			"name of a CA that the server asks for, and with a false proof of possession; for TLS 1.2 and 1.3 apart. It reads before it judges: in TLS 1.3 a server says no only after the " +
			"client's handshake is over. Where the endpoint speaks HTTP it asks for a page (GET), for some servers refuse there. Some dozen connections in all, and " +
			"no more than one request on each.\n\n" +
			"Exits with 0 when all is as expected (--expect), with 3 when it is not or a finding is as grave as --fail-on, and with 4 when it cannot be told.",
		Example: "mutual probe api.example.com:8443\n" +
			"mutual probe https://api.example.com/v1/ --as alice@example.com --ca ca.crt\n" +
			"mutual probe api.example.com --cert alice.crt --key alice.key --path / --path /admin/\n" +
			"mutual probe @endpoints.txt --level observe --parallel 64 --json",
		Flags:      slices.Concat(probeIdentityFlags(), probeCaseFlags(), probeRequestFlags(), probeWayFlags(), probeResultFlags()),
		Passphrase: true,
		MinArgs:    0,
		MaxArgs:    anyNumber,
		Values: map[string][]string{
			"level": {"check", "observe"}, "app": {"auto", "none", "http"}, "only": caseNames(), "skip": caseNames(),
			"expect": words(probe.Expectations()), "fail-on": append(words(probe.Severities()), failOnNone),
		},
		Action: runProbe,
	})
}

func probeIdentityFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cert", Usage: "try the certificate chain in `FILE`, which the server should accept"},
		&cli.StringFlag{Name: "key", Usage: "its private key in `FILE`"},
		&cli.StringFlag{Name: "p12", Usage: "try the certificate and key in the PKCS#12 `FILE`"},
		&cli.StringFlag{Name: "pass-file", Usage: "read the password of the PKCS#12 file from `FILE` (or set $" + envExportPassword + ")"},
		&cli.StringFlag{Name: "as", Usage: "try a certificate of five minutes that the PKI issues for the identity `NAME`, on record"},
		&cli.StringFlag{Name: "other-cert", Usage: "try another chain in `FILE` that the server should accept: it tells a pinned certificate"},
		&cli.StringFlag{Name: "other-key", Usage: "its private key in `FILE`"},
		&cli.StringFlag{Name: "ca", Usage: "trust the server only under the CA certificates in `FILE`"},
	}
}

func probeCaseFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "level", Usage: "go as far as `LEVEL`: check, or observe, which connects once for each TLS version, as nobody", Value: "check"},
		&cli.StringSliceFlag{Name: "only", Usage: "beside nobody try only `CASE` (repeatable)"},
		&cli.StringSliceFlag{Name: "skip", Usage: "do not try `CASE` (repeatable)"},
		&cli.BoolFlag{Name: "list-cases", Usage: "list the cases, and connect to nothing"},
	}
}

func probeRequestFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "app", Usage: "after TLS speak `WHAT`: http, none, or auto, which sees whether HTTP is answered", Value: "auto"},
		&cli.StringSliceFlag{Name: "path", Usage: "ask for `PATH` and judge it by itself (repeatable)"},
		&cli.StringFlag{Name: "host", Usage: "send `NAME` in the Host field"},
		&cli.StringSliceFlag{Name: "header", Usage: "send the header field `NAME:VALUE`, too (repeatable)"},
		&cli.IntSliceFlag{Name: "expect-status", Usage: "take the HTTP status `N` for let in, and any other for refused (repeatable)"},
	}
}

func probeWayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "sni", Usage: "send `NAME` as the server's name, and verify it"},
		&cli.StringSliceFlag{Name: "alpn", Usage: "offer `PROTOCOL` instead of http/1.1 and h2 (repeatable)"},
		&cli.StringFlag{Name: "connect-to", Usage: "connect to `HOST:PORT` instead of the target's"},
		&cli.BoolFlag{Name: "ipv4", Aliases: []string{"4"}, Usage: "use only IPv4"},
		&cli.BoolFlag{Name: "ipv6", Aliases: []string{"6"}, Usage: "use only IPv6"},
		&cli.StringFlag{Name: "proxy", Usage: "connect through the proxy `URL`: http://HOST:PORT or socks5://HOST:PORT"},
		&cli.DurationFlag{Name: "timeout", Usage: "give each connection `TIME` (default: 5s)", Value: probe.DefaultTimeout},
		&cli.Float64Flag{Name: "rate", Usage: "make at most `N` connections a second"},
		&cli.IntFlag{Name: "parallel", Usage: "probe `N` targets at once (default: 16)", Value: probeParallel},
	}
}

// failOnNone is the bar that no finding reaches.
const failOnNone = "none"

func probeResultFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "expect", Usage: "expect `MODE`: required-verified (the default with a certificate), required (without one), optional or none"},
		&cli.IntSliceFlag{Name: "expect-alert", Usage: "expect that who is refused gets the TLS alert `N`, or another one that is given (repeatable)"},
		&cli.StringFlag{Name: "fail-on", Usage: "exit with 3 on a finding of `SEVERITY` or graver: critical (the default), high, medium, low, info or none", Value: string(probe.Critical)},
		&cli.StringFlag{Name: "keylog", Usage: "write the secrets of all connections into the new `FILE`, as Wireshark reads them"},
		&cli.StringFlag{Name: "trace", Usage: "write the octets of each connection into a file in `DIR`, as text2pcap reads them"},
	}
}

func caseNames() []string {
	var out []string
	for _, e := range probe.Experiments() {
		out = append(out, string(e.ID))
	}
	return out
}

// words gives the texts of a type of strings.
func words[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

func runProbe(ctx context.Context, r *run, c *cli.Context) error {
	if c.Bool("list-cases") {
		return r.emit(experimentsView(probe.Experiments()))
	}
	job, err := r.newProbeJob(ctx, c)
	if err != nil {
		return err
	}
	reports, err := job.run(ctx, r)
	if closeErr := job.close(); err == nil {
		err = closeErr
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	if err := r.emit(newProbesView(reports)); err != nil {
		return err
	}
	return job.verdict(reports)
}

// experimentsView is the list of cases.
type experimentsView []probe.Experiment

// Text implements view.
func (v experimentsView) Text(p *ui.Printer) error {
	t := ui.NewTable(ui.Column{Title: "CASE"}, ui.Column{Title: "WHAT IS PRESENTED", Flexible: true}, ui.Column{Title: "NEEDS", Flexible: true})
	for _, e := range v {
		if err := t.Row(ui.Name.Of(string(e.ID)), ui.Plain.Of(e.What), ui.Muted.Of(e.Needs)); err != nil {
			return err
		}
	}
	return p.Table(t)
}

// probeJob is what the command line asks for.
type probeJob struct {
	targets  []probe.Target
	config   probe.Config // for each of them
	parallel int
	failOn   string
	minted   *mintedIdentity // of --as
	files    probeFiles
}

// run probes every target and gives the reports in their order. An error ends
// it: it is one of ours, and no target's.
func (j *probeJob) run(ctx context.Context, r *run) ([]*probe.Report, error) {
	reports := make([]*probe.Report, len(j.targets))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	ended := make(chan struct{})
	var group sync.WaitGroup
	for range min(j.parallel, len(j.targets)) {
		group.Go(func() {
			for i := range next {
				report, err := j.probe(ctx, i)
				if err != nil {
					cancel(err)
					return
				}
				reports[i] = report
				ended <- struct{}{}
			}
		})
	}
	go func() {
		defer close(ended)
		defer group.Wait()
		defer close(next)
		for i := range j.targets {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	j.follow(r, ended)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return reports, nil
}

// probe probes one target.
func (j *probeJob) probe(ctx context.Context, i int) (*probe.Report, error) {
	cfg := j.config
	cfg.Target = j.targets[i]
	cfg.Trace = j.files.tracer(i, cfg.Target, len(j.targets))
	if j.minted != nil {
		var err error
		if cfg.Good, err = j.minted.certificate(ctx); err != nil {
			return nil, err
		}
	}
	return probe.Run(ctx, cfg)
}

// follow shows how far it is.
func (j *probeJob) follow(r *run, ended <-chan struct{}) {
	bar := &ui.Progress{}
	if len(j.targets) > 1 && !r.quiet {
		bar = r.talk.Progress("probing", int64(len(j.targets)))
	}
	defer bar.Clear()
	done := 0
	for range ended {
		done++
		bar.Set(int64(done), fmt.Sprintf("%d of %d probed", done, len(j.targets)))
	}
}

// verdict gives the exit code: violated if one is, else not known if one is
// not.
func (j *probeJob) verdict(reports []*probe.Report) error {
	code := error(nil)
	for _, report := range reports {
		grave := j.failOn != failOnNone && slices.ContainsFunc(report.Findings, func(f probe.Finding) bool { return f.Severity.AtLeast(probe.Severity(j.failOn)) })
		switch {
		case grave || report.Outcome == probe.Violated:
			return bad(nil)
		case report.Outcome == probe.CouldNotTell:
			code = unsure(nil, "")
		}
	}
	return code
}

func (j *probeJob) close() error { return j.files.close() }

// pace lets connections go at most at a rate, all targets together.
func (r *run) pace(rate float64) func(context.Context) error {
	if rate == 0 {
		return nil
	}
	var mu sync.Mutex
	var free time.Time // when the next connection may be made
	every := time.Duration(float64(time.Second) / rate)
	return func(ctx context.Context) error {
		mu.Lock()
		now := r.env.Now()
		if free.Before(now) {
			free = now
		}
		wait := free.Sub(now)
		free = free.Add(every)
		mu.Unlock()
		if wait <= 0 {
			return ctx.Err()
		}
		return r.env.Sleep(ctx, wait)
	}
}

var errNoTarget = errors.New("there is no target")

// probeTargets reads the targets of a command line.
func (r *run) probeTargets(args []string) ([]probe.Target, error) {
	if len(args) == 0 {
		return nil, withHint(usage(errNoTarget), "name one: mutual probe api.example.com:8443")
	}
	var out []probe.Target
	for _, arg := range args {
		file, isFile := strings.CutPrefix(arg, "@")
		if !isFile && arg != "-" {
			target, err := probe.ParseTarget(arg)
			if err != nil {
				return nil, usage(err)
			}
			out = append(out, target)
			continue
		}
		named := file
		if arg == "-" {
			file, named = arg, "standard input"
		}
		data, err := r.readInput(file)
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(string(data), "\n") {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			target, err := probe.ParseTarget(line)
			if err != nil {
				return nil, usagef("line %d of %s: %w", i+1, named, err)
			}
			out = append(out, target)
		}
	}
	if len(out) == 0 {
		return nil, usage(errNoTarget)
	}
	return out, nil
}
