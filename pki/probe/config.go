package probe

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
)

// DefaultTimeout bounds a connection from its first packet to its last, if
// Config.Timeout is zero.
const DefaultTimeout = 5 * time.Second

// Level says how far a probe goes.
type Level int

// The levels. Check makes every experiment; Observe makes one connection for
// each TLS version, as nobody.
const (
	Check Level = iota
	Observe
)

// CaseID names an experiment.
type CaseID string

// The experiments, in the order in which they are made.
const (
	CaseNone       CaseID = "none"
	CaseGood       CaseID = "good"
	CaseOther      CaseID = "other"
	CaseStranger   CaseID = "stranger"
	CaseImpostor   CaseID = "impostor"
	CaseFalseProof CaseID = "false-proof"
)

// Experiment describes a case.
type Experiment struct {
	ID    CaseID `json:"case"`
	What  string `json:"what"`
	Needs string `json:"needs,omitempty"` // what it is not made without
}

// Experiments lists the cases in the order in which they are made.
func Experiments() []Experiment {
	return []Experiment{
		{CaseNone, "no certificate: always made, for the others are compared with it", ""},
		{CaseGood, "the certificate that the server should accept", "a certificate of yours"},
		{CaseOther, "another certificate that the server should accept, to tell a pinned one", "another certificate of yours"},
		{CaseStranger, "a self-made certificate", ""},
		{CaseImpostor, "yours with another key and signature, or else a self-made one from a CA with a name that the server asks for", "a certificate of yours, or a server that names its CAs"},
		{CaseFalseProof, "a certificate without its key: the proof of possession is false", ""},
	}
}

// Application says whether HTTP is spoken.
type Application int

// The applications. AppAuto: as the target's scheme says, else HTTP if the
// endpoint turns out to speak it.
const (
	AppAuto Application = iota
	AppNone
	AppHTTP
)

// Field is a header field of the request.
type Field struct{ Name, Value string }

// Config is what a probe is given. Target and Now are required.
type Config struct {
	Target  Target
	Good    *tls.Certificate    // that the server should accept: leaf first, with its crypto.Signer; nil: none
	Other   *tls.Certificate    // another such one; nil: none
	Roots   []*x509.Certificate // the only trust anchors for the server; nil: its chain is not checked
	Timeout time.Duration       // for each connection, and for the name's lookup; zero: DefaultTimeout
	Now     func() time.Time    // the clock

	Level      Level
	Only, Skip []CaseID // only these cases, and none is always made; not these

	App      Application
	Paths    []string // pages to ask for; empty: the target's
	Host     string   // Host field; empty: the target's
	Fields   []Field  // further header fields
	Statuses []int    // HTTP statuses that mean "let in"; empty: judged by the difference

	ServerName string   // SNI, and the name to verify; empty: the target's
	ALPN       []string // protocols to offer; empty: HTTP/1.1 and HTTP/2
	ConnectTo  string   // host:port to connect to instead of the target; empty: the target
	Family     int      // 4 or 6: only addresses of that kind; 0: both
	Proxy      *url.URL // http or socks5; nil: no proxy

	// Pace is called before each connection and may wait; nil: no wait.
	Pace func(context.Context) error
	// KeyLog gets the secrets of every connection in the NSS format; nil: nobody.
	KeyLog io.Writer
	// Trace opens the record of the connection with that number, from 1, and
	// case; nil: none is kept.
	Trace func(number int, what string) (io.WriteCloser, error)

	Expect Expectation // zero: ExpectVerified with a good certificate and Check, else ExpectRequired
	Alerts []int       // alerts with one of which nobody and strangers must be refused; empty: any
}

// CheckFor says what is wrong with a Config for a target, without a connection.
func (c Config) CheckFor(target Target) error {
	c.Target = target
	return c.check()
}

func (c *Config) check() error {
	if c.Target.IsZero() {
		return errors.New("probing: no target")
	}
	if err := c.problem(); err != nil {
		return fmt.Errorf("probing %s: %w", c.Target, err)
	}
	return nil
}

func (c *Config) problem() error {
	switch {
	case c.Now == nil:
		return errors.New("no clock")
	case c.Timeout < 0:
		return fmt.Errorf("the timeout %v is negative", c.Timeout)
	case c.Roots != nil && len(c.Roots) == 0:
		return errors.New("the list of trust anchors is empty")
	case c.Family != 0 && c.Family != 4 && c.Family != 6:
		return fmt.Errorf("there is no address family %d", c.Family)
	case c.application() == AppNone && (len(c.Paths)+len(c.Fields)+len(c.Statuses) > 0 || c.Host != ""):
		return errors.New("no request is made to which a path, a host, a field or a status belongs")
	case c.ServerName != "" && !isHost(c.ServerName):
		return fmt.Errorf("the server's name %q is no host", c.ServerName)
	case c.ConnectTo != "" && !isHostPort(c.ConnectTo):
		return fmt.Errorf("%q to connect to is not HOST:PORT", c.ConnectTo)
	case c.Other != nil && c.Good == nil:
		return errors.New("another certificate is of use beside a good one only")
	}
	for _, path := range c.Paths {
		if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("the path %q is no path of a request: it begins with / and is printable ASCII", path)
		}
	}
	for _, f := range append(slices.Clone(c.Fields), Field{"Host", c.Host}) {
		if !isToken(f.Name) || strings.ContainsFunc(f.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return fmt.Errorf("%q: %q is no header field", f.Name, f.Value)
		}
	}
	for _, id := range append(slices.Clone(c.Only), c.Skip...) {
		if !slices.ContainsFunc(Experiments(), func(e Experiment) bool { return e.ID == id }) {
			return fmt.Errorf("there is no case %q", id)
		}
	}
	for _, certificate := range []*tls.Certificate{c.Good, c.Other} {
		if certificate == nil {
			continue
		}
		if _, ok := certificate.PrivateKey.(crypto.Signer); !ok || len(certificate.Certificate) == 0 || certificate.Leaf == nil {
			return errors.New("the client certificate lacks its chain or its private key")
		}
	}
	return nil
}

func isHost(s string) bool {
	_, err := newTarget(s, "443", "/", AppNone)
	return err == nil
}

func isHostPort(s string) bool {
	host, port, err := splitHostPort(s)
	if err != nil {
		return false
	}
	_, err = newTarget(host, port, "/", AppNone)
	return err == nil
}

// isToken reports whether s is the name of a header field (RFC 9110, Section
// 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// makes reports whether a case is to be made.
func (c *Config) makes(id CaseID) bool {
	switch {
	case id == CaseNone:
		return true
	case c.Level == Observe, slices.Contains(c.Skip, id), len(c.Only) > 0 && !slices.Contains(c.Only, id):
		return false
	case id == CaseGood:
		return c.Good != nil
	case id == CaseOther:
		return c.Other != nil
	}
	return true
}

// application is what the target, or the caller over it, says of HTTP.
func (c *Config) application() Application {
	if c.App != AppAuto {
		return c.App
	}
	return c.Target.app
}

func (c *Config) paths() []string {
	if len(c.Paths) == 0 || c.application() == AppNone {
		return []string{c.Target.path}
	}
	return c.Paths
}

func (c *Config) serverName() string {
	if c.ServerName != "" {
		return c.ServerName
	}
	return c.Target.serverName()
}
