package probe

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"
)

// The bounds on an HTTP answer. They keep it in memory and, with the timeout,
// in time.
const (
	maxHead = 64 << 10  // octets of all status lines and header fields
	maxBody = 256 << 10 // octets of the body that are read
)

var (
	errNotHTTP = errors.New("reading the answer: it is no HTTP")
	errHead    = errors.New("reading the answer: broken HTTP")
)

// request is a GET with the fields that a server may insist on (RFC 9112,
// Section 3.2, for Host).
func request(t Target) string {
	return "GET " + t.path + " HTTP/1.1\r\n" +
		"Host: " + t.authority() + "\r\n" +
		"User-Agent: mutual\r\n" +
		"Accept: */*\r\n" +
		"Connection: close\r\n\r\n"
}

// head is what matters of a status line and its header fields.
type head struct {
	status   int
	location string
	chunked  bool
	length   int64 // -1: none given
}

// response is an answer whose head was read whole. Its body is hashed, not
// kept.
type response struct {
	head
	body     [sha256.Size]byte
	octets   int64
	complete bool // read to its end, or to maxBody
}

// readResponse reads one final answer to a GET. If the body breaks off, the
// answer is returned, not complete. Errors are errNotHTTP, errHead for what
// began as HTTP, and that of the reader if it gave nothing.
func readResponse(r *bufio.Reader) (*response, error) {
	budget := maxHead
	for {
		text, err := readHead(r, &budget)
		if err != nil {
			return nil, err
		}
		h, err := parseHead(text)
		if err != nil {
			return nil, err
		}
		if h.status >= 200 {
			return readBody(r, h), nil
		}
		if h.status == 101 { // RFC 9110, Section 15.2.2: we asked for no upgrade
			return nil, errHead
		}
	}
}

// readHead reads up to and with the empty line, and takes its length from the
// budget.
func readHead(r *bufio.Reader, budget *int) ([]byte, error) {
	const start = "HTTP/"
	var text []byte
	for ; *budget > 0; *budget-- {
		c, err := r.ReadByte()
		if err != nil && len(text) > 0 {
			return nil, fmt.Errorf("%w: it breaks off: %w", errHead, err)
		}
		if err != nil {
			return nil, err
		}
		text = append(text, c)
		if n := len(text); n <= len(start) && c != start[n-1] {
			return nil, errNotHTTP
		}
		if bytes.HasSuffix(text, []byte("\n\r\n")) || bytes.HasSuffix(text, []byte("\n\n")) {
			return text, nil
		}
	}
	return nil, fmt.Errorf("%w: over %d octets of header fields", errHead, maxHead)
}

// parseHead reads a status line and the fields that frame a body (RFC 9112,
// Sections 4 and 6.3).
func parseHead(text []byte) (head, error) {
	h := head{length: -1}
	lines := strings.Split(string(text), "\n")
	line := strings.TrimSuffix(lines[0], "\r")
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return head{}, fmt.Errorf("%w: the status line %q", errHead, escape(line))
	}
	status, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || status < 100 {
		return head{}, fmt.Errorf("%w: the status line %q", errHead, escape(line))
	}
	h.status = int(status)
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if err := h.setField(strings.ToLower(name), strings.Trim(value, " \t")); err != nil {
			return head{}, err
		}
	}
	return h, nil
}

func (h *head) setField(name, value string) error {
	switch name {
	case "location":
		h.location = value
	case "transfer-encoding":
		h.chunked = strings.HasSuffix(strings.ToLower(value), "chunked")
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || h.length >= 0 && h.length != int64(n) {
			return fmt.Errorf("%w: the content length %q", errHead, escape(value))
		}
		h.length = int64(n)
	}
	return nil
}

func readBody(r *bufio.Reader, h head) *response {
	var body io.Reader = r
	expected := int64(-1)
	switch {
	case h.status == 204 || h.status == 304:
		body, expected = strings.NewReader(""), 0
	case h.chunked:
		body = httputil.NewChunkedReader(r)
	case h.length >= 0:
		body, expected = io.LimitReader(r, h.length), min(h.length, maxBody)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(body, maxBody))
	a := &response{head: h, octets: n}
	a.complete = n == maxBody || err == nil && (expected < 0 || n == expected)
	hash.Sum(a.body[:0])
	return a
}

// view is the answer as the Report shows it.
func (a *response) view() *HTTP {
	return &HTTP{
		Status:       a.status,
		Location:     escape(a.location),
		BodyOctets:   a.octets,
		BodySHA256:   hex.EncodeToString(a.body[:]),
		BodyComplete: a.complete,
	}
}

// sameAs reports whether two answers show a client the same; it means nothing
// if one of them is not complete.
func (a *response) sameAs(b *response) bool {
	return a.status == b.status && a.location == b.location && a.body == b.body
}
