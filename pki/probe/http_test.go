package probe

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadResponse(t *testing.T) {
	long := strings.Repeat("a", maxBody)
	for _, row := range []struct {
		name, text string
		status     int
		body       string
		complete   bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello more", 200, "hello", true},
		{"until the end", "HTTP/1.0 200 ok\r\n\r\nhello", 200, "hello", true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 99\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 200, "hello", true},
		{"no reason", "HTTP/1.1 404\nContent-Length:0\n\n", 404, "", true},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 401 No\r\n\r\n", 401, "", true},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\nnot read", 204, "", true},
		{"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true},
		{"length cut off", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", 200, "hello", false},
		{"chunks cut off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 200, "hel", false},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 200, "", false},
		{"endless body", "HTTP/1.1 200 OK\r\n\r\n" + long + "more", 200, long, true},
	} {
		a, err := readResponse(bufio.NewReader(strings.NewReader(row.text)))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if a.status != row.status || string(a.body) != row.body || a.complete != row.complete {
			t.Errorf("%s: got status %d, %d octets, complete %v", row.name, a.status, len(a.body), a.complete)
		}
	}
}

func TestReadResponseErrors(t *testing.T) {
	for _, row := range []struct {
		name, text string
		is         error
		want       string
	}{
		{"nothing", "", io.EOF, "EOF"},
		{"another protocol", "220 mail.example ESMTP\r\n", errNotHTTP, "reading the answer: it is no HTTP"},
		{"HTTP/2 frames", "\x00\x00\x12\x04\x00\x00\x00\x00\x00", errNotHTTP, "reading the answer: it is no HTTP"},
		{"cut in the first word", "HT", errHead, "it breaks off: EOF"},
		{"cut in the fields", "HTTP/1.1 200 OK\r\nA: b\r\n", errHead, "it breaks off: EOF"},
		{"version", "HTTP/3 200 OK\r\n\r\n", errHead, `the status line "HTTP/3 200 OK"`},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", errHead, `the status line "HTTP/1.1 20 OK"`},
		{"status zero", "HTTP/1.1 099 OK\r\n\r\n", errHead, "the status line"},
		{"status escaped", "HTTP/1.1 \x1b[2J\r\n\r\n", errHead, `the status line "HTTP/1.1 \\1B[2J"`},
		{"switching", "HTTP/1.1 101 Switching Protocols\r\n\r\n", errHead, "broken HTTP"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", errHead, `the content length "-1"`},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", errHead, `the content length "2"`},
		{"endless fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", maxHead), errHead, "over 65536 octets of header fields"},
		{"endless line", "HTTP/1.1 200 " + strings.Repeat("a", 2*maxHead), errHead, "over 65536 octets of header fields"},
		{"endless interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxHead), errHead, "over 65536 octets of header fields"},
	} {
		_, err := readResponse(bufio.NewReader(strings.NewReader(row.text)))
		if !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

func FuzzReadResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 302 Found\nLocation: /x\n\n",
		"220 mail",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func() (*response, error) { return readResponse(bufio.NewReader(strings.NewReader(string(data)))) }
		a, err := read()
		if (a == nil) == (err == nil) {
			t.Fatalf("answer %v with error %v", a, err)
		}
		if err != nil {
			return
		}
		if a.status < 200 || a.status > 999 || len(a.body) > maxBody {
			t.Errorf("status %d, %d octets", a.status, len(a.body))
		}
		if b, err := read(); err != nil || a.status != b.status || a.location != b.location || a.likeness(b) != 1 {
			t.Errorf("read again: %v, %v", b, err)
		}
		if view := a.view(); !isSafe(view.Location) {
			t.Errorf("the location %q", view.Location)
		}
	})
}
