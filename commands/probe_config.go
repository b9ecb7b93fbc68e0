package commands

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/probe"
	"mutual/pki/store"
)

// mintAhead is how long the certificate of --as must still be valid when a target
// is begun.
const mintAhead = 2 * time.Minute

// newProbeJob reads the command line. Whatever it alone shows to be wrong is said
// before a file is opened, and a certificate is minted last.
func (r *run) newProbeJob(ctx context.Context, c *cli.Context) (*probeJob, error) {
	j := &probeJob{parallel: c.Int("parallel"), failOn: c.String("fail-on"), config: probe.Config{
		Timeout: c.Duration("timeout"), Now: r.env.Now, Pace: r.pace(max(c.Float64("rate"), 0)),
		Paths: c.StringSlice("path"), Host: c.String("host"), Statuses: c.IntSlice("expect-status"),
		ServerName: c.String("sni"), ALPN: c.StringSlice("alpn"), ConnectTo: c.String("connect-to"),
	}}
	for _, check := range []func(*cli.Context) error{j.numbers, j.choices, j.identities, j.request, j.way} {
		if err := check(c); err != nil {
			return nil, err
		}
	}
	var err error
	if j.targets, err = r.probeTargets(c.Args().Slice()); err != nil {
		return nil, err
	}
	for _, target := range j.targets {
		if err := j.config.CheckFor(target); err != nil {
			return nil, usage(err)
		}
	}
	if ca := c.String("ca"); ca != "" {
		if j.config.Roots, err = r.readCertificates(ca); err != nil {
			return nil, err
		}
	}
	if err := r.probeIdentity(ctx, c, &j.config); err != nil {
		return nil, err
	}
	if err := j.files.open(c.String("keylog"), c.String("trace")); err != nil {
		return nil, err
	}
	if j.files.keyLog != nil {
		j.config.KeyLog = j.files.keyLog
	}
	if name := c.String("as"); name != "" {
		j.minted = &mintedIdentity{r: r, name: name}
		if j.config.Good, err = j.minted.certificate(ctx); err != nil {
			j.files.discard()
			return nil, err
		}
	}
	return j, nil
}

func (j *probeJob) numbers(c *cli.Context) error {
	switch {
	case j.config.Timeout <= 0:
		return usagef("--timeout %v is not longer than nothing", j.config.Timeout)
	case c.IsSet("rate") && !(c.Float64("rate") >= 0.001 && c.Float64("rate") <= 1e6): // NaN is no rate either
		return usagef("--rate %v is no number of connections a second from 0.001 to 1000000", c.Float64("rate"))
	case j.parallel < 1 || j.parallel > maxParallel:
		return usagef("--parallel %d is no number from 1 to %d", j.parallel, maxParallel)
	}
	for _, status := range j.config.Statuses {
		if status < 100 || status > 999 {
			return usagef("--expect-status %d is no HTTP status", status)
		}
	}
	for _, alert := range c.IntSlice("expect-alert") {
		if alert < 0 || alert > 255 {
			return usagef("--expect-alert %d is no TLS alert: they go from 0 to 255", alert)
		}
		j.config.Alerts = append(j.config.Alerts, alert)
	}
	return nil
}

// oneOf checks a flag with a few values.
func oneOf(flag, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return usagef("--%s %q is none of %s", flag, value, strings.Join(values, ", "))
}

func (j *probeJob) choices(c *cli.Context) error {
	if err := oneOf("level", c.String("level"), "check", "observe"); err != nil {
		return err
	}
	if c.String("level") == "observe" {
		j.config.Level = probe.Observe
	}
	if err := oneOf("app", c.String("app"), "auto", "none", "http"); err != nil {
		return err
	}
	j.config.App = map[string]probe.Application{"none": probe.AppNone, "http": probe.AppHTTP}[c.String("app")]
	if c.IsSet("expect") {
		if err := oneOf("expect", c.String("expect"), words(probe.Expectations())...); err != nil {
			return err
		}
		j.config.Expect = probe.Expectation(c.String("expect"))
	}
	for flag, into := range map[string]*[]probe.CaseID{"only": &j.config.Only, "skip": &j.config.Skip} {
		for _, name := range c.StringSlice(flag) {
			if err := oneOf(flag, name, caseNames()...); err != nil {
				return err
			}
			*into = append(*into, probe.CaseID(name))
		}
	}
	if slices.Contains(j.config.Skip, probe.CaseNone) {
		return usagef("--skip none: all other cases are compared with it")
	}
	return oneOf("fail-on", j.failOn, append(words(probe.Severities()), failOnNone)...)
}

// identities checks that it is clear which certificates are meant.
func (j *probeJob) identities(c *cli.Context) error {
	is := func(flag string) bool { return c.String(flag) != "" }
	good := 0
	for _, flag := range []string{"cert", "p12", "as"} {
		if is(flag) {
			good++
		}
	}
	switch {
	case is("cert") != is("key"):
		return usagef("--cert and --key belong together")
	case is("other-cert") != is("other-key"):
		return usagef("--other-cert and --other-key belong together")
	case good > 1:
		return usagef("--cert, --p12 and --as exclude each other")
	case is("pass-file") && !is("p12"):
		return usagef("--pass-file is of use with --p12 only")
	case is("other-cert") && good == 0:
		return withHint(usagef("--other-cert is of use beside a first certificate only"), "give that with --cert, --p12 or --as")
	}
	return nil
}

func (j *probeJob) request(c *cli.Context) error {
	for _, text := range c.StringSlice("header") {
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return usagef("--header %q is not NAME:VALUE", text)
		}
		if strings.EqualFold(strings.TrimSpace(name), "host") {
			return usagef("--header %q: use --host", text)
		}
		j.config.Fields = append(j.config.Fields, probe.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return nil
}

func (j *probeJob) way(c *cli.Context) error {
	switch {
	case c.Bool("ipv4") && c.Bool("ipv6"):
		return usagef("--ipv4 and --ipv6 exclude each other")
	case (c.Bool("ipv4") || c.Bool("ipv6")) && c.String("proxy") != "":
		return usagef("with --proxy the proxy chooses the address: --ipv4 and --ipv6 have no place beside it")
	case c.Bool("ipv4"):
		j.config.Family = 4
	case c.Bool("ipv6"):
		j.config.Family = 6
	}
	text := c.String("proxy")
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "socks5" || strings.Trim(u.Path, "/") != "":
		return usagef("--proxy is neither http://HOST:PORT nor socks5://HOST:PORT")
	case u.User != nil:
		return withHint(usagef("--proxy holds a user: a password has no place in an argument"), "use a proxy that asks for none")
	}
	j.config.Proxy = u
	return nil
}

// probeIdentity reads the certificates that the server should accept.
func (r *run) probeIdentity(ctx context.Context, c *cli.Context, cfg *probe.Config) (err error) {
	if cert := c.String("cert"); cert != "" {
		if cfg.Good, err = r.readPair(cert, c.String("key")); err != nil {
			return err
		}
	}
	if file := c.String("p12"); file != "" {
		r.password.file = c.String("pass-file")
		id, err := r.readIdentity(ctx, file)
		if err != nil {
			return err
		}
		cfg.Good = &tls.Certificate{PrivateKey: id.Key, Leaf: id.Chain[0]}
		for _, c := range id.Chain {
			cfg.Good.Certificate = append(cfg.Good.Certificate, c.Raw)
		}
	}
	if cert := c.String("other-cert"); cert != "" {
		cfg.Other, err = r.readPair(cert, c.String("other-key"))
	}
	return err
}

// readPair reads a certificate chain and the key that belongs to its leaf.
func (r *run) readPair(certFile, keyFile string) (*tls.Certificate, error) {
	certs, err := r.readCertificates(certFile)
	if err != nil {
		return nil, err
	}
	data, err := pemfile.ReadFile(keyFile, pemfile.MaxFile)
	if err != nil {
		return nil, err
	}
	signer, err := pemfile.Key(data, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the key %s: %w", keyFile, err)
	}
	if !keys.Equal(signer.Public(), certs[0].PublicKey) {
		return nil, fmt.Errorf("the key %s does not belong to the certificate %s", keyFile, certFile)
	}
	out := &tls.Certificate{PrivateKey: signer, Leaf: certs[0]}
	for _, c := range certs {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out, nil
}

// mintedIdentity is an identity that the PKI issues short-lived certificates for,
// another one before the last is over: many targets take longer than that.
type mintedIdentity struct {
	r    *run
	name string

	mu   sync.Mutex
	last *tls.Certificate
}

func (m *mintedIdentity) certificate(ctx context.Context) (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && m.r.env.Now().Add(mintAhead).Before(m.last.Leaf.NotAfter) {
		return m.last, nil
	}
	minted, err := m.r.mintProbe(ctx, m.name)
	if err == nil {
		m.last = minted
	}
	return minted, err
}

// mintProbe issues a short-lived certificate for an identity that the
// inventory knows. Its key never leaves the memory.
func (r *run) mintProbe(ctx context.Context, text string) (out *tls.Certificate, err error) {
	name, err := pki.ParseAnyName(text)
	if err != nil {
		return nil, usage(err)
	}
	err = r.writing(ctx, func(p *store.PKI) error {
		if err := checkIssue(ctx, p, store.IssueRequest{Kind: pki.KindProbe, Name: name}, place{stdout: true}); err != nil {
			return err
		}
		if out, err = r.heldIdentity(ctx, p, pki.KindProbe, text); err != nil {
			return err
		}
		r.note("the probe's certificate has the serial %s and ends at %s", pki.NewSerial(out.Leaf.SerialNumber), when(out.Leaf.NotAfter))
		return nil
	})
	return out, err
}

// probeFiles are what a probe writes beside its result. They hold secrets, so
// they are the user's alone and replace nothing.
type probeFiles struct {
	keyLog  *os.File
	dir     string
	madeDir bool
}

// open makes the directory, which must be empty if it is there, and the file. A
// failure leaves nothing.
func (f *probeFiles) open(keyLog, dir string) (err error) {
	if dir != "" {
		if err := f.makeDir(dir); err != nil {
			return err
		}
	}
	if keyLog != "" {
		if f.keyLog, err = createPrivate(keyLog); err != nil {
			f.discard()
			return err
		}
	}
	return nil
}

func (f *probeFiles) makeDir(dir string) error {
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		f.madeDir = true
	case os.IsExist(err):
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			return failf("choose another directory, or empty it", "%s is not empty, and nothing is replaced", dir)
		}
	default:
		return fmt.Errorf("making the directory for traces: %w", err)
	}
	f.dir = dir
	return nil
}

// discard removes what was made, before anything was written.
func (f *probeFiles) discard() {
	if f.keyLog != nil {
		_ = f.keyLog.Close()           // empty
		_ = os.Remove(f.keyLog.Name()) // the error that led here is the one to tell
	}
	if f.madeDir {
		_ = os.Remove(f.dir) // the same
	}
}

func createPrivate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return nil, failf("choose another name, or remove it", "%s exists, and nothing is replaced", path)
	}
	return f, err
}

// tracer gives what opens the files of one target.
func (f *probeFiles) tracer(index int, target probe.Target, targets int) func(int, string) (io.WriteCloser, error) {
	if f.dir == "" {
		return nil
	}
	prefix := ""
	if targets > 1 {
		prefix = fmt.Sprintf("%04d-", index+1)
	}
	host := strings.Map(func(c rune) rune {
		if c == ':' || c == '%' {
			return '_'
		}
		return c
	}, target.Host())
	return func(number int, what string) (io.WriteCloser, error) {
		return createPrivate(filepath.Join(f.dir, fmt.Sprintf("%s%s_%s-%02d-%s.txt", prefix, host, target.Port(), number, what)))
	}
}

func (f *probeFiles) close() error {
	if f.keyLog == nil {
		return nil
	}
	return f.keyLog.Close()
}
