package commands

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/pki/gate"
)

func gateCommand() *cli.Command {
	c := leaf(leafSpec{
		Name:     "gate",
		Category: categoryEnforcing,
		Usage:    "let only genuine clients in to an API, and cut off who is revoked",
		Long: "A reverse proxy for HTTP/1.1, HTTP/2, gRPC and WebSocket, and with --tcp for anything. It asks every client for a certificate and lets in " +
			"only who is genuine, in its lifetime, in the inventory of the PKI, not revoked, and allowed by a rule. " +
			"mutual revoke ends only when every gate of the PKI on this machine has cut who it takes out.\n\n" +
			"With --ca and --crl it guards an API for the certificates of any CA.\n\n" +
			"The certificate of the server is issued from the PKI for --name unless --cert and --key are given, by a process of its own: " +
			"the gate never has the key of a CA. Certificate, CAs, lists and rules are read again when their content changes; SIGHUP also opens the log anew. " +
			"SIGTERM lets what runs go on for --drain, and then cuts it.",
		Example: "mutual gate --to http://127.0.0.1:8080 --allow-all\n" +
			"mutual gate --listen :8443 --to h2c://127.0.0.1:50051 --rules rules.yaml --log /var/log/gate.jsonl --admin 127.0.0.1:9090\n" +
			"mutual gate --tcp --listen :5433 --to 127.0.0.1:5432 --allow 'db-*'\n" +
			"mutual gate --ca ca.crt --crl chain.pem --cert api.crt --key api.key --to unix:/run/api.sock --allow dns:client.example.com",
		Flags:      slices.Concat(gateWayFlags(), gateTrustFlags(), gateRuleFlags(), gateRunFlags(), gateLimitFlags()),
		Passphrase: true,
		Values: map[string][]string{
			"header": words(gate.HeaderStyles()), "crl-expired": {"refuse", "serve"}, "refuse-with": {"403"},
		},
		Action: runGate,
	})
	c.Subcommands = []*cli.Command{gateTestCommand(), gateCheckCommand(), gateAddCommand(), gateUnitCommand()}
	return c
}

func gateWayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "listen", Usage: "listen at `ADDRESS`: HOST:PORT or unix:PATH; systemd's sockets come first", Value: ":8443"},
		&cli.StringFlag{Name: "to", Usage: "send what comes in to `UPSTREAM`: http://, https://, h2c://HOST:PORT or unix:PATH; with --tcp HOST:PORT"},
		&cli.BoolFlag{Name: "to-remote", Usage: "allow an upstream that is not on this machine"},
		&cli.StringFlag{Name: "to-ca", Usage: "trust an upstream of https only under the CA certificates in `FILE`"},
		&cli.BoolFlag{Name: "tcp", Usage: "pass octets on, whatever they are"},
		&cli.BoolFlag{Name: "proxy-protocol", Usage: "with --tcp: begin with a header of the PROXY protocol, version 2, which names the client"},
		&cli.StringFlag{Name: "header", Usage: "tell the upstream who it is also in `STYLE`: xfcc (Envoy) or nginx, beside Client-Cert", Value: string(gate.HeaderNone)},
	}
}

func gateTrustFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cert", Usage: "show the certificate chain in `FILE`"},
		&cli.StringFlag{Name: "key", Usage: "its private key in `FILE`"},
		&cli.StringSliceFlag{Name: "name", Usage: "have a certificate issued for `NAME`, by default for localhost and this machine's name (repeatable)"},
		&cli.StringFlag{Name: "ca", Usage: "trust the CA certificates in `FILE`, and no PKI"},
		&cli.StringSliceFlag{Name: "crl", Usage: "with --ca: take revocation from the lists in `FILE`, or at an http URL (repeatable)"},
		&cli.StringFlag{Name: "crl-expired", Usage: "with --ca: when a list has expired `DO`: refuse, or serve, which lets in who was revoked since", Value: "refuse"},
		&cli.BoolFlag{Name: "any-genuine", Usage: "let in also what the inventory does not know: nobody can revoke it"},
		&cli.StringFlag{Name: "state", Usage: "remember the newest epoch in `DIR` (default: mutual in the user's state directory)"},
		&cli.BoolFlag{Name: "accept-rollback", Usage: "serve a PKI that is older than what was seen of it: who was revoked since is let in"},
		&cli.DurationFlag{Name: "lease", Usage: "refuse everyone when the PKI could not be read for `TIME` (default: 10s)", Value: 10 * time.Second},
		&cli.StringFlag{Name: "control", Usage: "with --ca: be told of acts at the socket `PATH`, which the PKI's owner adds with: mutual gate add"},
	}
}

func gateRuleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "allow", Usage: "let in who matches `PATTERN`: NAME, cn:, ou:, dns:, email:, uri:, spki: or label:, with * and ? (repeatable)"},
		&cli.StringFlag{Name: "rules", Usage: "let in what the rules in the YAML `FILE` allow, by identity, method and path"},
		&cli.BoolFlag{Name: "allow-all", Usage: "let in whoever is genuine and not revoked"},
		&cli.IntFlag{Name: "refuse-with", Usage: "for migrations: finish the handshake, and answer with the HTTP `STATUS` and the reason in JSON"},
	}
}

func gateRunFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log", Usage: "append the access log to `FILE` (default: standard output)"},
		&cli.BoolFlag{Name: "log-must-write", Usage: "let nothing through while the log cannot be written"},
		&cli.StringFlag{Name: "admin", Usage: "answer /metrics, /healthz and /readyz at `ADDRESS`: HOST:PORT or unix:PATH"},
		&cli.DurationFlag{Name: "drain", Usage: "when told to end, let what runs go on for `TIME` (default: 10s)", Value: 10 * time.Second},
	}
}

func gateLimitFlags() []cli.Flag {
	l := gate.DefaultLimits()
	return []cli.Flag{
		&cli.IntFlag{Name: "max-connections", Usage: fmt.Sprintf("have at most `N` connections (default: %d)", l.Connections), Value: l.Connections},
		&cli.IntFlag{Name: "max-per-identity", Usage: fmt.Sprintf("of one identity at most `N` (default: %d)", l.PerIdentity), Value: l.PerIdentity},
		&cli.IntFlag{Name: "max-requests", Usage: fmt.Sprintf("have at most `N` requests of one identity at the same time (default: %d)", l.Requests), Value: l.Requests},
		&cli.Float64Flag{Name: "rate", Usage: "answer at most `N` requests a second of one identity"},
		&cli.DurationFlag{Name: "handshake-timeout", Usage: "give a handshake `TIME` (default: 10s)", Value: l.Handshake},
		&cli.DurationFlag{Name: "header-timeout", Usage: "give the header of a request `TIME` (default: 10s)", Value: l.Header},
		&cli.DurationFlag{Name: "idle-timeout", Usage: "close a connection without a request for `TIME` (default: 2m)", Value: l.Idle},
		&cli.IntFlag{Name: "max-header", Usage: fmt.Sprintf("take at most `N` octets of header (default: %d)", l.HeaderBytes), Value: l.HeaderBytes},
	}
}

// gatePercent is how far the heap of a gate grows before it is collected. What
// lives in it is so little that the collector else runs every few hundred
// requests.
const gatePercent = 200

// gateJob is a gate about to run, with all that has to be closed after it.
type gateJob struct {
	r       *run
	config  gate.Config
	control *gate.Control
	listen  string
	admin   string
	group   sync.WaitGroup // whatever goes on beside it
	closers []func()
}

func (j *gateJob) close() {
	for _, do := range slices.Backward(j.closers) {
		do()
	}
	j.closers = nil
}

func runGate(ctx context.Context, r *run, c *cli.Context) error {
	j := &gateJob{r: r, listen: c.String("listen"), admin: c.String("admin")}
	defer j.close()
	if err := j.configure(c); err != nil {
		return err
	}
	listeners, err := j.listeners() // a place that is taken is said before anything is made
	if err != nil {
		return err
	}
	j.closers = append(j.closers, func() { closeAll(listeners) })
	j.listen = addresses(listeners)
	if err := j.open(ctx, c); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx) // of whatever goes on beside it
	defer cancel()
	if r.env.Getenv("GOGC") == "" {
		debug.SetGCPercent(gatePercent)
	}
	r.env.linger(j.config.Drain + issuePatience + 5*time.Second)
	g, err := gate.New(ctx, j.config)
	if err != nil {
		return err
	}
	defer j.group.Wait()
	defer j.close()
	defer cancel()
	if err := j.serveAdmin(g); err != nil {
		return err
	}
	if j.control != nil {
		j.group.Go(func() { j.control.Serve(g) })
	}
	hangups, ignore := hangups()
	defer ignore()
	j.group.Go(func() { j.obey(ctx, g, hangups) })
	if wanted, most := c.Int("max-connections"), j.config.Limits.Connections; most < wanted && c.IsSet("max-connections") {
		r.warn("there are at most %d connections, and not %d: each takes two of the files that a process may have open (ulimit -n)", most, wanted)
	}
	r.note("the gate listens at %s, in front of %s", addresses(listeners), j.config.Upstream)
	r.env.notify("READY=1")
	g.Serve(ctx, listeners...)
	return nil
}

// obey does on SIGHUP what is done when files change, and opens the log anew. It
// tells systemd when the gate ends.
func (j *gateJob) obey(ctx context.Context, g *gate.Gate, hangups <-chan os.Signal) {
	for {
		select {
		case <-hangups:
			if err := j.config.Log.Reopen(); err != nil {
				j.r.warn("the log could not be opened anew: %v", err)
			}
			j.r.env.notify("RELOADING=1\nREADY=1")
			g.Look(ctx)
		case <-ctx.Done():
			j.r.env.notify("STOPPING=1")
			return
		}
	}
}

func (j *gateJob) serveAdmin(g *gate.Gate) error {
	if j.admin == "" {
		return nil
	}
	l, err := listenAt(j.admin)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: g.Admin(), ReadHeaderTimeout: 5 * time.Second}
	j.group.Go(func() { _ = server.Serve(l) }) // ends with close
	j.closers = append(j.closers, func() { _ = server.Close() })
	return nil
}

// listeners are systemd's sockets, or the one of --listen.
func (j *gateJob) listeners() ([]net.Listener, error) {
	passed, err := j.r.env.sockets()
	if err != nil {
		return nil, fmt.Errorf("taking the sockets of systemd: %w", err)
	}
	if len(passed) > 0 {
		return passed, nil
	}
	l, err := listenAt(j.listen)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// listenAt listens at HOST:PORT or unix:PATH. The socket of a gate that was killed
// is replaced.
func listenAt(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, withHint(err, "choose another address with --listen")
		}
		return l, nil
	}
	return gate.ListenUnix(path)
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // it may be closed already
	}
}

func addresses(listeners []net.Listener) string {
	var out []string
	for _, l := range listeners {
		out = append(out, l.Addr().String())
	}
	return strings.Join(out, ", ")
}
