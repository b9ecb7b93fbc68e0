package probe

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames writes the octets of a server's side.
func frames(t testing.TB, write func(*http2.Framer)) string {
	t.Helper()
	var b bytes.Buffer
	write(http2.NewFramer(&b, nil))
	return b.String()
}

// headers is a block of header fields, given as name and value in turn.
func headers(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // to memory
	}
	return b.Bytes()
}

func answerHead(f *http2.Framer, stream uint32, end bool, fields ...string) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers(fields...), EndHeaders: true, EndStream: end}) // to memory
}

func TestReadHTTP2(t *testing.T) {
	for _, row := range []struct {
		name     string
		write    func(*http2.Framer)
		status   int
		body     string
		complete bool
		err      error
		said     string
	}{
		{"page", func(f *http2.Framer) {
			_ = f.WriteSettings()
			_ = f.WritePing(false, [8]byte{1})
			answerHead(f, 1, false, ":status", "200", "server", "x")
			_ = f.WriteData(1, false, []byte("hel"))
			_ = f.WriteData(3, true, []byte("of another"))
			_ = f.WriteData(1, true, []byte("lo"))
		}, 200, "hello", true, nil, ""},
		{"interim", func(f *http2.Framer) {
			answerHead(f, 1, false, ":status", "103")
			answerHead(f, 1, true, ":status", "401")
		}, 401, "", true, nil, ""},
		{"cut off", func(f *http2.Framer) {
			answerHead(f, 1, false, ":status", "200")
			_ = f.WriteData(1, false, []byte("hel"))
		}, 200, "hel", false, nil, ""},
		{"reset", func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeHTTP11Required) }, 0, "", false, errHTTP1, "the server wants HTTP/1.1"},
		{"going away", func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) }, 0, "", false, errHead, "goes away"},
		{"nothing", func(*http2.Framer) {}, 0, "", false, io.EOF, "EOF"},
		{"no status", func(f *http2.Framer) { answerHead(f, 1, true, "server", "x") }, 0, "", false, errHead, "the status"},
		{"status escaped", func(f *http2.Framer) { answerHead(f, 1, true, ":status", "2\x1b") }, 0, "", false, errHead, ""},
		{"endless settings", func(f *http2.Framer) {
			for range maxFrames + 1 {
				_ = f.WriteSettings()
			}
		}, 0, "", false, errHead, "over 4096 frames"},
		{"endless body", func(f *http2.Framer) {
			answerHead(f, 1, false, ":status", "200")
			for range maxBody/maxFrameSize + 1 {
				_ = f.WriteData(1, false, make([]byte, maxFrameSize))
			}
		}, 200, string(make([]byte, maxBody)), true, nil, ""},
	} {
		a, err := readHTTP2(io.Discard, bufio.NewReader(strings.NewReader(frames(t, row.write))))
		if row.err != nil {
			if !errors.Is(err, row.err) || !strings.Contains(err.Error(), row.said) {
				t.Errorf("%s: got %v, want %v, %q", row.name, err, row.err, row.said)
			}
			continue
		}
		if err != nil || a.status != row.status || string(a.body) != row.body || a.complete != row.complete {
			t.Errorf("%s: got %+v, %v", row.name, a, err)
		}
	}
}

// TestHTTP2 asks a server that speaks nothing else: it is offered
// beside HTTP/1.1.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for mode, want := range map[tls.ClientAuthType]Mode{tls.VerifyClientCertIfGiven: OptionalVerified, tls.RequireAndVerifyClientCert: RequiredVerified} {
		config := f.serverConfig(mode)
		config.NextProtos = []string{"h2"}
		long := strings.Repeat("a", 20_000)
		address := serveHTTP(t, config, func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 || r.Header.Get("X-Long") != long || r.Host != "api.example" {
				http.Error(w, fmt.Sprintf("%s %q %d", r.Proto, r.Host, len(r.Header.Get("X-Long"))), 500)
				return
			}
			hello(w, r)
		})
		c := f.config(t, address, f.good)
		c.Fields, c.Host = []Field{{"X-Long", long}}, "api.example"
		report := run(t, c)
		last := report.Cases[len(report.Cases)-1]
		if report.Mode != want || last.HTTP == nil || last.HTTP.Protocol != "HTTP/2" || last.HTTP.Status != 200 {
			t.Errorf("%v: got %s\n%s", mode, report.Mode, dump(report))
		}
	}
}

func FuzzReadHTTP2(f *testing.F) {
	f.Add([]byte(frames(f, func(w *http2.Framer) {
		_ = w.WriteSettings()
		answerHead(w, 1, false, ":status", "200", "location", "/x")
		_ = w.WriteData(1, true, []byte("hello"))
	})))
	f.Add([]byte(frames(f, func(w *http2.Framer) { _ = w.WriteGoAway(0, http2.ErrCodeNo, []byte("x")) })))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var sent bytes.Buffer
		a, err := readHTTP2(&sent, bufio.NewReader(bytes.NewReader(data)))
		if (a == nil) == (err == nil) {
			t.Fatalf("answer %v with error %v", a, err)
		}
		if sent.Len() > 20*len(data) {
			t.Errorf("%d octets are answered with %d", len(data), sent.Len())
		}
		if a == nil {
			return
		}
		if a.status < 200 || a.status > 999 || len(a.body) > maxBody {
			t.Errorf("status %d, %d octets", a.status, len(a.body))
		}
		if view := a.view(); !isSafe(view.Location) || !isSafe(view.Server) {
			t.Errorf("%+v", view)
		}
	})
}
