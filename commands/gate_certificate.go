package commands

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/pki"
	"mutual/pki/gate"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// certificate gives the gate the certificate to show itself with: that of --cert,
// or one that the PKI issues for --name. The latter lies in the directory of
// --state, from where the next start takes it, and where mutual renew finds it.
func (j *gateJob) certificate(ctx context.Context, c *cli.Context) error {
	var err error
	if c.String("cert") != "" {
		j.config.Certificate, err = gate.CertificateFiles(c.String("cert"), c.String("key"), nil, j.r.now())
		return err
	}
	names := c.StringSlice("name")
	if len(names) == 0 {
		names = usableNames(localNames())
	}
	state, err := j.r.stateDir(c.String("state"))
	if err != nil {
		return err
	}
	i := &gateIssuer{r: j.r, names: names}
	if i.dir, err = j.r.pkiDir(); err != nil {
		return err
	}
	if err := i.open(ctx, state); err != nil {
		return err
	}
	load := func() (err error) {
		j.config.Certificate, err = gate.CertificateFiles(i.file+".crt", i.file+".key", func() { j.group.Go(func() { i.renew(ctx) }) }, j.r.now())
		return err
	}
	if i.usable() && load() == nil {
		return nil
	}
	if err := i.issueAlone(ctx); err != nil {
		return err
	}
	return load()
}

// usableNames leaves out what no certificate may have.
func usableNames(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := pki.ParseName(name, pki.KindServer)
		return err != nil
	})
}

// gateIssuer has certificates issued by a process of its own, which has the key of
// the CA for as long as that takes.
type gateIssuer struct {
	r         *run
	dir       string // of the PKI
	names     []string
	file      string // without .key and .crt
	encrypted bool
	issuing   []*x509.Certificate
}

// open finds out where the certificate lies, and whether to issue one takes a
// passphrase.
func (i *gateIssuer) open(ctx context.Context, state string) error {
	p, err := store.Open(ctx, i.dir, i.r.followOptions())
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // only read
	identity, err := p.Identity(ctx)
	if err != nil {
		return err
	}
	if _, i.issuing, err = p.Trusted(ctx); err != nil {
		return err
	}
	name, err := parseNewName(i.names[0], pki.KindServer)
	if err != nil {
		return err
	}
	place := filepath.Join(state, "gate-"+identity)
	if err := os.MkdirAll(place, 0o700); err != nil {
		return fmt.Errorf("making the place of the gate's certificate: %w", err)
	}
	i.file = filepath.Join(place, name.FileBase())
	i.encrypted, err = p.KeyIsEncrypted(pki.KindIssuing)
	return err
}

// usable reports whether a certificate lies there that is good for the names and
// of which a third of the life is left.
func (i *gateIssuer) usable() bool {
	data, err := pemfile.ReadFile(i.file+".crt", pemfile.MaxFile)
	if err != nil {
		return false
	}
	certs, err := pemfile.Certificates(data)
	if err != nil || !lifeLeft(certs[0].NotBefore, certs[0].NotAfter, i.r.now()) {
		return false
	}
	if _, err := os.Stat(i.file + ".key"); err != nil {
		return false
	}
	if !slices.ContainsFunc(i.issuing, func(ca *x509.Certificate) bool { return certs[0].CheckSignatureFrom(ca) == nil }) {
		return false
	}
	for _, name := range i.names {
		if certs[0].VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// issueAlone has one issued, unless another gate that starts at the same time has
// done so meanwhile. Nobody renews what lies there while it does.
func (i *gateIssuer) issueAlone(ctx context.Context) error {
	if i.encrypted { // asked for before anybody has to wait for this
		if _, err := i.r.readPassphrase(ctx); err != nil {
			return err
		}
	}
	p, err := store.Open(ctx, i.dir, i.r.followOptions())
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // only read
	release, err := p.QueueRenewal(ctx)
	if err != nil {
		return err
	}
	defer release()
	if i.usable() {
		return nil
	}
	return i.issue(ctx)
}

// issue has one issued, in the place of what lies there.
func (i *gateIssuer) issue(ctx context.Context) error {
	args := []string{"issue", "server", "--out", filepath.Dir(i.file), "--label", "mutual gate", "--force"}
	for _, name := range i.names[1:] {
		if net.ParseIP(name) != nil {
			args = append(args, "--ip", name)
		} else {
			args = append(args, "--dns", name)
		}
	}
	return i.run(ctx, append(args, "--", i.names[0]), true)
}

// renew has the certificate renewed. Where that takes a passphrase that only a
// person has, it says so: the gate takes what mutual renew puts there.
func (i *gateIssuer) renew(ctx context.Context) {
	if i.encrypted && !i.r.passphraseGiven() {
		i.r.warn("the server's certificate is about to end, and issuing another one takes a passphrase; run: mutual renew %s --pki %s",
			quote(i.file+".crt"), quote(i.dir))
		return
	}
	if err := i.run(ctx, []string{"renew", i.file + ".crt"}, false); err != nil {
		i.r.warn("the server's certificate could not be renewed: %v", err)
	}
}

// issuePatience bounds how long the process may take. It is not interrupted when
// the gate ends, which waits for it.
const issuePatience = 15 * time.Second

// run runs this program with a command that needs the key of the CA. A passphrase
// goes through a pipe.
func (i *gateIssuer) run(ctx context.Context, args []string, ask bool) error {
	program, err := i.r.env.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	args = slices.Concat([]string{"--pki", i.dir, "--quiet", "--color", "never"}, args)
	var passphrase []byte
	if i.encrypted && (ask || i.r.passphraseGiven()) {
		if passphrase, err = i.r.readPassphrase(ctx); err != nil {
			return err
		}
		args = slices.Concat([]string{"--passphrase-fd", "0"}, args)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issuePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = bytes.NewReader(passphrase)
	cmd.Env = i.r.env.Environ()
	cmd.Stdout = io.Discard
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(strings.ReplaceAll(said.String(), "mutual: error: ", ""))
		if text == "" || !errors.As(err, new(*exec.ExitError)) {
			return fmt.Errorf("issuing the server's certificate: %w", err)
		}
		return fmt.Errorf("issuing the server's certificate: %s", strings.ReplaceAll(text, "\n", "; "))
	}
	return nil
}
