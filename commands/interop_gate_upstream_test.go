package commands_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Every octet of a connection says whether it was made before or after the client
// was taken out: in both directions nothing but these is sent.
const (
	octetBefore = 'b'
	octetAfter  = 'A'
)

// gateMark is what the upstream knows of one client.
type gateMark struct {
	after    atomic.Bool  // what is made from now on is made after
	received atomic.Int64 // octets that the client sent
	late     atomic.Int64 // octets that it sent after
	running  atomic.Int64 // what the upstream does for it
}

// octets are some to be sent now.
func (m *gateMark) octets(n int) []byte {
	if m.after.Load() {
		return bytes.Repeat([]byte{octetAfter}, n)
	}
	return bytes.Repeat([]byte{octetBefore}, n)
}

// take counts what the client has sent.
func (m *gateMark) take(b []byte) {
	m.received.Add(int64(len(b)))
	m.late.Add(int64(bytes.Count(b, []byte{octetAfter})))
}

// gateUpstream is behind the gates: an HTTP server that speaks HTTP/1.1 and h2c,
// and one that echoes what comes over TCP.
type gateUpstream struct {
	web, raw net.Listener
	handler  http.Handler
	marks    sync.Map // of string to *gateMark
}

func newGateUpstream(t *testing.T) *gateUpstream {
	t.Helper()
	u := &gateUpstream{}
	for _, l := range []*net.Listener{&u.web, &u.raw} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	for path, answer := range map[string]func(*gateMark, http.ResponseWriter, *http.Request) error{
		"GET /one": answerOne, "GET /down": answerDown, "POST /up": answerUp, "GET /sse": answerSSE, "GET /ws": answerWebSocket, "POST /bidi": answerBidi,
		"POST /stuck": answerStuck,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			m := u.mark(r.URL.Query().Get("cell"))
			m.running.Add(1)
			defer m.running.Add(-1)
			_ = answer(m, w, r) // it ends with its client
		})
	}
	u.handler = mux
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	var group sync.WaitGroup
	group.Go(func() { _ = server.Serve(u.web) }) // until Close
	group.Go(func() {
		for {
			conn, err := u.raw.Accept()
			if err != nil {
				return
			}
			go u.echo(conn)
		}
	})
	t.Cleanup(func() {
		_ = server.Close()
		_ = u.raw.Close()
		group.Wait()
	})
	return u
}

// mark is what the upstream knows of a client by its name.
func (u *gateUpstream) mark(name string) *gateMark {
	m, _ := u.marks.LoadOrStore(name, &gateMark{})
	return m.(*gateMark)
}

func answerOne(m *gateMark, w http.ResponseWriter, _ *http.Request) error {
	_, err := w.Write(m.octets(4))
	return err
}

// answerDown has no end: with "pace" a few octets at times, with "flood" as much as
// the client takes, and else something in between.
func answerDown(m *gateMark, w http.ResponseWriter, r *http.Request) error {
	size, pause := 32<<10, 20*time.Millisecond
	switch r.URL.Query().Get("how") {
	case "pace":
		size, pause = 4, 200*time.Millisecond
	case "flood":
		size, pause = 64<<10, 0
	}
	return stream(w, r, pause, func() []byte { return m.octets(size) })
}

func answerSSE(m *gateMark, w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/event-stream")
	return stream(w, r, 20*time.Millisecond, func() []byte { return fmt.Appendf(nil, "data:%s\n\n", m.octets(1)) })
}

func stream(w http.ResponseWriter, r *http.Request, pause time.Duration, next func() []byte) error {
	out := http.NewResponseController(w)
	for {
		if _, err := w.Write(next()); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
}

// answerUp reads slowly, so that there is always more than was read, and what is left
// after at once.
func answerUp(m *gateMark, _ http.ResponseWriter, r *http.Request) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Body.Read(buf)
		m.take(buf[:n])
		if err != nil {
			return err
		}
		if !m.after.Load() {
			time.Sleep(time.Millisecond)
		}
	}
}

// answerStuck reads nothing until the client is taken out and the test has ended.
func answerStuck(m *gateMark, _ http.ResponseWriter, r *http.Request) error {
	for !m.after.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	_, err := io.Copy(io.Discard, r.Body)
	return err
}

// answerBidi echoes as a stream of gRPC does in both directions.
func answerBidi(m *gateMark, w http.ResponseWriter, r *http.Request) error {
	if r.ProtoMajor != 2 {
		http.Error(w, "not HTTP/2", http.StatusHTTPVersionNotSupported)
		return nil
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return err
	}
	return m.echo(r.Body, func(b []byte) error {
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	})
}

// answerWebSocket echoes messages of one octet.
func answerWebSocket(m *gateMark, w http.ResponseWriter, r *http.Request) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-WebSocket-Key") != webSocketKey {
		http.Error(w, "no WebSocket was asked for", http.StatusUpgradeRequired)
		return nil
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the client has gone
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+webSocketAccept+"\r\n\r\n"); err != nil {
		return err
	}
	frame := make([]byte, len(webSocketFrame(octetBefore)))
	for {
		if _, err := io.ReadFull(buffered, frame); err != nil {
			return err
		}
		message := []byte{frame[6] ^ frame[2]}
		m.take(message)
		if _, err := conn.Write(append([]byte{0x81, 1}, message...)); err != nil {
			return err
		}
	}
}

// The example of RFC 6455, Section 1.3.
const (
	webSocketKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	webSocketAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// webSocketFrame is a client's message of one octet, which is masked (RFC 6455,
// Section 5.3).
func webSocketFrame(octet byte) []byte {
	mask := [4]byte{1, 2, 3, 4}
	return append([]byte{0x81, 0x81}, mask[0], mask[1], mask[2], mask[3], octet^mask[0])
}

// echo serves a connection that begins with a line with the client's name.
func (u *gateUpstream) echo(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client has gone
	in := bufio.NewReader(conn)
	name, err := in.ReadString('\n')
	if err != nil {
		return
	}
	m := u.mark(strings.TrimSpace(name))
	m.running.Add(1)
	defer m.running.Add(-1)
	_ = m.echo(in, func(b []byte) error { _, err := conn.Write(b); return err }) // it ends with its client
}

func (m *gateMark) echo(in io.Reader, out func([]byte) error) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := in.Read(buf)
		m.take(buf[:n])
		if n > 0 {
			if err := out(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
