package commands_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gateKinds are the connections that can be open when a client is taken out.
var gateKinds = []gateKind{
	{"idle", "web", "http/1.1", openIdle},
	{"download", "web", "http/1.1", openDownload},
	{"stalled", "web", "http/1.1", openStalled},
	{"upload", "web", "http/1.1", openUpload},
	{"sse", "web", "http/1.1", openSSE},
	{"websocket", "web", "http/1.1", openWebSocket},
	{"h2-idle", "web", "h2", openHTTP2Idle},
	{"h2-streams", "web", "h2", openHTTP2Streams},
	{"grpc", "h2c", "h2", openBidi},
	{"tcp", "tcp", "", openTCP},
}

type gateKind struct {
	name, gate, protocol string
	open                 func(t *testing.T, c *gateCell) (*gateLive, error)
}

// gateLive is a connection that is open.
type gateLive struct {
	mark  *gateMark
	ended chan struct{} // closed when nothing more can be read
	err   error         // then: why
	got   atomic.Int64  // octets that were read, after the header
	late  atomic.Int64  // of these made after
	again func() error  // asks once more on the same connection; nil: it never stopped
	body  bool          // what is read has an end of its own: io.EOF says that all came
}

// watch reads until the end of all.
func (c *gateCell) watch(all ...io.Reader) *gateLive {
	l := &gateLive{mark: c.mark, ended: make(chan struct{})}
	var group sync.WaitGroup
	var mu sync.Mutex
	for _, in := range all {
		group.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := in.Read(buf)
				l.got.Add(int64(n))
				l.late.Add(int64(bytes.Count(buf[:n], []byte{octetAfter})))
				if err != nil {
					mu.Lock()
					l.err = err
					mu.Unlock()
					return
				}
			}
		})
	}
	go func() { group.Wait(); close(l.ended) }()
	return l
}

// pump sends what the function makes until that fails.
func (c *gateCell) pump(pause time.Duration, send func(octet byte) error) {
	go func() {
		for send(c.mark.octets(1)[0]) == nil {
			time.Sleep(pause)
		}
	}()
}

const clientPatience = 10 * time.Second

func (c *gateCell) dial(config *tls.Config) (*tls.Conn, error) {
	config = config.Clone()
	if c.kind.protocol != "" {
		config.NextProtos = []string{c.kind.protocol}
	}
	d := &net.Dialer{Timeout: clientPatience}
	return tls.DialWithDialer(d, "tcp", c.gate.address, config)
}

// request opens a connection and sends a request in HTTP/1.1.
func (c *gateCell) request(t *testing.T, method, path, header string) (*tls.Conn, error) {
	conn, err := c.dial(c.config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, c.send(conn, method, path, header)
}

func (c *gateCell) send(conn io.Writer, method, path, header string) error {
	_, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, path, header)
	return err
}

// path is one of the upstream's for this client.
func (c *gateCell) path(path string) string { return path + "?cell=" + c.name }

func readAnswer(in *bufio.Reader, status int) (*http.Response, error) {
	answer, err := http.ReadResponse(in, nil)
	if err == nil && answer.StatusCode != status {
		err = errors.New(answer.Status)
	}
	return answer, err
}

func openIdle(t *testing.T, c *gateCell) (*gateLive, error) {
	conn, err := c.request(t, "GET", c.path("/one"), "")
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	answer, err := readAnswer(in, http.StatusOK)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.Close {
		return nil, fmt.Errorf("it is not kept alive: %w", err)
	}
	l := c.watch(in)
	l.again = func() error {
		if err := c.send(conn, "GET", c.path("/one"), ""); err != nil {
			return err
		}
		_, err := in.ReadByte()
		return err
	}
	return l, nil
}

func openDownload(t *testing.T, c *gateCell) (*gateLive, error) {
	return c.openBody(t, c.path("/down"), "")
}

func openSSE(t *testing.T, c *gateCell) (*gateLive, error) {
	return c.openBody(t, c.path("/sse"), "Accept: text/event-stream\r\n")
}

func (c *gateCell) openBody(t *testing.T, path, header string) (*gateLive, error) {
	conn, err := c.request(t, "GET", path, header)
	if err != nil {
		return nil, err
	}
	answer, err := readAnswer(bufio.NewReader(conn), http.StatusOK)
	if err != nil {
		return nil, err
	}
	l := c.watch(answer.Body)
	l.body = true
	return l, nil
}

// openStalled is a download of which the client reads only the beginning, until
// it is taken out: the gate waits in the middle of a write.
func openStalled(t *testing.T, c *gateCell) (*gateLive, error) {
	conn, err := c.request(t, "GET", c.path("/down")+"&how=flood", "")
	if err != nil {
		return nil, err
	}
	answer, err := readAnswer(bufio.NewReader(conn), http.StatusOK)
	if err != nil {
		return nil, err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(answer.Body, first); err != nil {
		return nil, err
	}
	l := c.watch(&stalled{answer.Body, c.mark})
	l.got.Add(1)
	l.body = true
	return l, nil
}

// stalled reads nothing until the client is taken out.
type stalled struct {
	io.Reader
	mark *gateMark
}

func (s *stalled) Read(b []byte) (int, error) {
	for !s.mark.after.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	return s.Reader.Read(b)
}

func openUpload(t *testing.T, c *gateCell) (*gateLive, error) {
	conn, err := c.request(t, "POST", c.path("/up"), "Transfer-Encoding: chunked\r\n")
	if err != nil {
		return nil, err
	}
	c.pump(0, func(octet byte) error {
		_, err := fmt.Fprintf(conn, "1000\r\n%s\r\n", bytes.Repeat([]byte{octet}, 0x1000))
		return err
	})
	return c.watch(conn), nil
}

func openWebSocket(t *testing.T, c *gateCell) (*gateLive, error) {
	conn, err := c.request(t, "GET", c.path("/ws"),
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+webSocketKey+"\r\n")
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	answer, err := readAnswer(in, http.StatusSwitchingProtocols)
	if err == nil && answer.Header.Get("Sec-WebSocket-Accept") != webSocketAccept {
		err = errors.New("it is no WebSocket")
	}
	if err != nil {
		return nil, err
	}
	c.pump(20*time.Millisecond, func(octet byte) error { _, err := conn.Write(webSocketFrame(octet)); return err })
	return c.watch(in), nil
}

func openTCP(t *testing.T, c *gateCell) (*gateLive, error) {
	conn, err := c.dial(c.config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, c.name+"\n"); err != nil {
		return nil, err
	}
	c.pump(20*time.Millisecond, func(octet byte) error { _, err := conn.Write([]byte{octet}); return err })
	return c.watch(conn), nil
}

// http2 opens one connection of HTTP/2. ended is told of its end.
func (c *gateCell) http2(t *testing.T) (*http.ClientConn, *endingConn, error) {
	raw := &endingConn{ended: make(chan struct{})}
	transport := &http.Transport{
		TLSClientConfig: c.config.Clone(), Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			var err error
			raw.Conn, err = (&net.Dialer{Timeout: clientPatience}).DialContext(ctx, network, address)
			return raw, err
		},
	}
	transport.Protocols.SetHTTP2(true)
	conn, err := transport.NewClientConn(t.Context(), "https", c.gate.address)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, raw, nil
}

// endingConn is a connection that says when it has ended. The client of HTTP/2
// reads all the time.
type endingConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
	err   error
}

func (c *endingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() { c.err = err; close(c.ended) })
	}
	return n, err
}

// ask sends a request on a connection of HTTP/2 and gives the body of the answer.
func (c *gateCell) ask(t *testing.T, conn *http.ClientConn, method, path string, body io.Reader) (io.Reader, error) {
	r, err := http.NewRequestWithContext(t.Context(), method, "https://localhost"+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("TE", "trailers")
	}
	answer, err := conn.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || answer.ProtoMajor != 2 {
		return nil, fmt.Errorf("%s %s", answer.Proto, answer.Status)
	}
	return answer.Body, nil
}

func openHTTP2Idle(t *testing.T, c *gateCell) (*gateLive, error) {
	conn, raw, err := c.http2(t)
	if err != nil {
		return nil, err
	}
	once := func() error {
		body, err := c.ask(t, conn, "GET", c.path("/one"), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, body)
		}
		return err
	}
	if err := once(); err != nil {
		return nil, err
	}
	l := &gateLive{mark: c.mark, ended: make(chan struct{}), again: once}
	go func() { <-raw.ended; l.err = raw.err; close(l.ended) }()
	return l, nil
}

func openHTTP2Streams(t *testing.T, c *gateCell) (*gateLive, error) {
	const streams = 100
	conn, _, err := c.http2(t)
	if err != nil {
		return nil, err
	}
	bodies := make([]io.Reader, streams)
	first := make([]byte, 1)
	for i := range bodies {
		if bodies[i], err = c.ask(t, conn, "GET", c.path("/down")+"&how=pace", nil); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(bodies[i], first); err != nil { // each of them goes on
			return nil, err
		}
	}
	l := c.watch(bodies...)
	l.body = true
	return l, nil
}

// openBidi is a stream of gRPC in both directions, as far as a proxy can tell.
func openBidi(t *testing.T, c *gateCell) (*gateLive, error) {
	conn, _, err := c.http2(t)
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	t.Cleanup(func() { _ = in.Close() })
	body, err := c.ask(t, conn, "POST", c.path("/bidi"), out)
	if err != nil {
		return nil, err
	}
	c.pump(20*time.Millisecond, func(octet byte) error {
		_, err := in.Write([]byte{0, 0, 0, 0, 1, octet}) // a message of one octet
		return err
	})
	l := c.watch(body)
	l.body = true
	return l, nil
}
