package proof

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// patience bounds whatever waits for the other side.
const patience = 10 * time.Second

// Client calls an API behind a gate.
type Client struct {
	Address string // of the gate
	Config  *tls.Config
}

// Hello makes one call on a connection of its own and reads the answer: in TLS
// 1.3 a client's handshake is over before the gate has judged. resumed says that
// the connection resumed a session.
func (c Client) Hello(ctx context.Context) (status int, resumed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := c.dial(ctx, "http/1.1")
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = conn.Close() }() // the answer was read
	_, writeErr := io.WriteString(conn, "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, conn.ConnectionState().DidResume, errors.Join(err, writeErr) // it may have been refused before
	}
	defer func() { _ = answer.Body.Close() }() // it is read
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16))
	return answer.StatusCode, conn.ConnectionState().DidResume, err
}

func (c Client) dial(ctx context.Context, protocol string) (*tls.Conn, error) {
	config := c.Config.Clone()
	config.NextProtos = []string{protocol}
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}).DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends whatever waits
	return conn.(*tls.Conn), nil
}

// live is a connection on which something goes on.
type live struct {
	what  string
	ended chan struct{} // closed when it is over
	at    time.Time     // then: when
	err   error         // then: how
	stop  func()
}

// watch reads until the end and notes when that was. more makes the other side say
// more before each read, where there is one.
func (l *live) watch(in io.Reader, more func() error, now func() time.Time) error {
	if more != nil {
		if err := more(); err != nil {
			return err
		}
	}
	buf := make([]byte, 4096)
	if _, err := in.Read(buf); err != nil { // it really goes on
		return err
	}
	l.ended = make(chan struct{})
	go func() {
		defer close(l.ended)
		for l.err == nil {
			if more != nil {
				time.Sleep(beat)
				if l.err = more(); l.err != nil {
					break
				}
			}
			_, l.err = in.Read(buf)
		}
		l.at = now()
	}()
	return nil
}

// stream opens an endless answer in HTTP/1.1 or HTTP/2.
func (c Client) stream(ctx context.Context, http2 bool, now func() time.Time) (*live, error) {
	ctx, cancel := context.WithCancel(ctx)
	transport := &http.Transport{TLSClientConfig: c.Config.Clone(), Protocols: new(http.Protocols), DisableCompression: true}
	l := &live{what: "HTTP/1.1 stream", stop: func() { cancel(); transport.CloseIdleConnections() }}
	if http2 {
		l.what = "HTTP/2 stream"
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetHTTP1(true)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.Address+"/stream", nil)
	if err != nil {
		l.stop()
		return nil, err
	}
	answer, err := transport.RoundTrip(r)
	switch {
	case err == nil && answer.StatusCode != http.StatusOK:
		err = errors.New(answer.Status)
	case err == nil && http2 != (answer.ProtoMajor == 2):
		err = fmt.Errorf("it is %s", answer.Proto)
	}
	if err == nil {
		err = l.watch(answer.Body, nil, now)
	}
	if err != nil {
		l.stop()
		return nil, fmt.Errorf("opening an %s: %w", l.what, err)
	}
	return l, nil
}

// socket opens a connection that is upgraded, as a WebSocket is.
func (c Client) socket(ctx context.Context, now func() time.Time) (*live, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &live{what: "WebSocket", stop: cancel}
	conn, err := c.dial(ctx, "http/1.1")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening a %s: %w", l.what, err)
	}
	_, err = io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n")
	in := bufio.NewReader(conn)
	var answer *http.Response
	if err == nil {
		answer, err = http.ReadResponse(in, nil) // without a body: it is upgraded
	}
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(answer.Status)
	}
	if err == nil {
		err = l.watch(in, func() error { _, err := io.WriteString(conn, "ping"); return err }, now)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening a %s: %w", l.what, err)
	}
	return l, nil
}

// remoteError gives the alert with which the other side ended TLS, or "".
func remoteError(err error) string {
	if remote, ok := errors.AsType[*net.OpError](err); ok && remote.Op == "remote error" {
		return remote.Err.Error()
	}
	return ""
}
