package commands

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"mutual/pki/gate"
	"mutual/pki/gate/proof"
	"mutual/pki/store"
)

// localGate is a gate of this process, in front of a small API, both on the
// loopback interface.
type localGate struct {
	address string
	stop    func()
	refused refusals
}

// startLocalGate guards a small API with a PKI, as mutual gate does: the act that
// revokes tells it through its socket.
func (r *run) startLocalGate(ctx context.Context, p *store.PKI, server *tls.Certificate) (*localGate, error) {
	l := &localGate{}
	ctx, cancel := context.WithCancel(ctx)
	closers, last := []func(){cancel}, []func(){} // last: when nobody uses it any more
	var group sync.WaitGroup
	l.stop = func() {
		for _, do := range closers {
			do()
		}
		group.Wait()
		for _, do := range last {
			do()
		}
	}
	fail := func(err error) (*localGate, error) { l.stop(); return nil, err }
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(fmt.Errorf("listening on the loopback interface: %w", err))
	}
	upstream := &http.Server{Handler: proof.API(), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	group.Go(func() { _ = upstream.Serve(api) }) // ends with close
	closers = append(closers, func() { _ = upstream.Close() })
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(fmt.Errorf("listening on the loopback interface: %w", err))
	}
	closers = append(closers, func() { _ = front.Close() }) // Serve may have
	l.address = front.Addr().String()
	control, err := gate.ListenControl(p.Path(gatesDir), runtimeDir(r.env.Getenv), l.address)
	if err != nil {
		return fail(err)
	}
	closers = append(closers, control.Close)
	config := gate.Config{
		Source: gate.NewPKISource(p.Dir(), gate.PKIConfig{Options: r.followOptions()}), Rules: gate.FixedRules(gate.AllowAll()),
		Certificate: gate.GivenCertificate(server), Now: r.env.Now, Limits: gate.DefaultLimits(), Lease: time.Minute, Header: gate.HeaderNone,
	}
	last = append(last, func() { _ = config.Source.Close() }) // only read
	if config.Upstream, err = gate.ParseUpstream("http://" + api.Addr().String()); err != nil {
		return fail(err)
	}
	if config.Log, err = gate.NewLog(func() (io.WriteCloser, error) { return nopCloser{&l.refused}, nil }, false); err != nil {
		return fail(err)
	}
	last = append(last, func() { _ = config.Log.Close() }) // it is kept in memory
	g, err := gate.New(ctx, config)
	if err != nil {
		return fail(err)
	}
	group.Go(func() { g.Serve(ctx, front) })
	group.Go(func() { control.Serve(g) })
	return l, nil
}

// selfMade is a certificate that nobody but its holder vouches for.
func selfMade(name string, usage x509.ExtKeyUsage, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a self-signed certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making a self-signed certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// clientOf calls a gate with a certificate, or with none.
func clientOf(address string, server, cert *tls.Certificate, now func() time.Time) proof.Client {
	roots := x509.NewCertPool()
	roots.AddCert(server.Leaf)
	return proof.Client{Address: address, Config: &tls.Config{
		RootCAs: roots, ServerName: "localhost", Time: now, MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert == nil {
				return &tls.Certificate{}, nil
			}
			return cert, nil
		},
	}}
}

// refusals is a log of which only why somebody was refused is kept.
type refusals struct {
	mu      sync.Mutex
	partial []byte
	reasons []string
}

// Write implements io.Writer.
func (l *refusals) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, b...)
	for {
		line, rest, ok := bytes.Cut(l.partial, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		var entry struct{ Event, Reason string }
		if err := json.Unmarshal(line, &entry); err == nil && entry.Event == "refused" {
			l.reasons = append(l.reasons, entry.Reason)
		}
		l.partial = rest
	}
}

// next waits for the reason of the refusal after the first n.
func (l *refusals) next(ctx context.Context, n int) string {
	for range 1000 {
		l.mu.Lock()
		reasons := l.reasons
		l.mu.Unlock()
		if len(reasons) > n {
			return reasons[n]
		}
		if sleep(ctx, 2*time.Millisecond) != nil {
			break
		}
	}
	return "" // the log did not say
}

func (l *refusals) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.reasons)
}
