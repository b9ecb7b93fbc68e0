package commands

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"mutual/pki"
	"mutual/pki/chain"
	"mutual/pki/store"
)

// demoAPI is a small HTTPS API that requires a client certificate of one PKI.
type demoAPI struct {
	server   *http.Server
	listener net.Listener
	root     *x509.CertPool
	now      func() time.Time
	refusal  atomic.Value // string: why the last certificate was refused
}

// demoTimeout bounds each call.
const demoTimeout = 10 * time.Second

// startDemoAPI listens on the loopback interface. Every handshake is judged
// anew: the chain by package chain, revocation by the inventory.
func startDemoAPI(ctx context.Context, now func() time.Time, p *store.PKI, cert *tls.Certificate) (*demoAPI, error) {
	root, err := p.CACertificate(ctx, pki.KindRoot)
	if err != nil {
		return nil, err
	}
	issuing, err := p.CACertificate(ctx, pki.KindIssuing)
	if err != nil {
		return nil, err
	}
	api := &demoAPI{root: x509.NewCertPool(), now: now}
	api.root.AddCert(root)
	clientCAs := api.root.Clone()
	clientCAs.AddCert(issuing)
	config := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{*cert},
		ClientAuth:             tls.RequireAnyClientCert, // who it is decides VerifyConnection
		ClientCAs:              clientCAs,                // only the names that are asked for
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			o := chain.Options{At: now(), Purpose: chain.Client, Anchors: []*x509.Certificate{root},
				Intermediates: []*x509.Certificate{issuing}, Revocation: inventoryStatus(ctx, p, false)}
			if result := chain.Verify(state.PeerCertificates[0], o); result.Outcome != chain.Good {
				api.refusal.Store(result.Reason)
				return errors.New(result.Reason)
			}
			return nil
		},
	}
	if api.listener, err = tls.Listen("tcp", "127.0.0.1:0", config); err != nil {
		return nil, fmt.Errorf("listening on the loopback interface: %w", err)
	}
	api.server = &http.Server{Handler: http.HandlerFunc(greet), ReadHeaderTimeout: demoTimeout, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = api.server.Serve(api.listener) }() // ends with close
	return api, nil
}

func greet(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "hello, %s\n", r.TLS.PeerCertificates[0].Subject.CommonName) // a caller that went away
}

func (api *demoAPI) address() string { return api.listener.Addr().String() }

func (api *demoAPI) close() { _ = api.server.Close() } // nothing is left to lose

// call makes one request on one connection and says what became of it. A
// server of TLS 1.3 refuses after the client's handshake is over, so the
// verdict is what is read.
func (api *demoAPI) call(ctx context.Context, cert *tls.Certificate) (verdict, reason string) {
	api.refusal.Store("")
	status, err := api.request(ctx, cert)
	if err == nil && status == http.StatusOK {
		return accepted, "200 OK"
	}
	if why, _ := api.refusal.Load().(string); why != "" {
		return refused, why
	}
	if remote, ok := errors.AsType[*net.OpError](err); ok && remote.Op == "remote error" { // an alert of the server's
		return refused, remote.Err.Error()
	}
	if err == nil {
		return unclear, http.StatusText(status)
	}
	return unclear, err.Error()
}

func (api *demoAPI) request(ctx context.Context, cert *tls.Certificate) (int, error) {
	config := &tls.Config{
		RootCAs: api.root, ServerName: "localhost", Time: api.now, MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert == nil {
				return &tls.Certificate{}, nil
			}
			return cert, nil
		},
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: demoTimeout}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", api.address())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // the answer has been read
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends whatever waits
	// A write may fail because the server has refused already; the reason is
	// then still there to read.
	_, writeErr := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, errors.Join(err, writeErr)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	return response.StatusCode, errors.Join(err, response.Body.Close())
}

// selfMade is a certificate that nobody but its holder vouches for.
func selfMade(name string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a self-signed certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
