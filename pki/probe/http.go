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
	"slices"
	"strconv"
	"strings"
	"unicode"
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

// request is a GET of one page.
type request struct {
	path, authority string
	fields          []Field
}

func (p *prober) request(path string) request {
	authority := p.Host
	if authority == "" {
		authority = p.Target.authority()
	}
	return request{path: path, authority: authority, fields: p.Fields}
}

// http1 is the request in HTTP/1.1, with the fields that a server may insist on
// (RFC 9112, Section 3.2, for Host).
func (r request) http1() string {
	var b strings.Builder
	b.WriteString("GET " + r.path + " HTTP/1.1\r\nHost: " + r.authority + "\r\n")
	for _, f := range r.allFields() {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.String()
}

// allFields are those of the caller, and ours where the caller gave no other.
func (r request) allFields() []Field {
	var out []Field
	for _, f := range []Field{{"User-Agent", "mutual"}, {"Accept", "*/*"}} {
		if !slices.ContainsFunc(r.fields, func(given Field) bool { return strings.EqualFold(given.Name, f.Name) }) {
			out = append(out, f)
		}
	}
	return append(out, r.fields...)
}

// head is what matters of a status line and its header fields.
type head struct {
	status   int
	location string
	server   string // the Server field
	chunked  bool
	length   int64 // -1: none given
}

// response is an answer whose head was read whole.
type response struct {
	head
	protocol string // HTTP/1.1 or HTTP/2
	body     []byte // at most maxBody
	complete bool   // read to its end, or to maxBody
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
	case "server":
		h.server = value
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
	a := &response{head: h, protocol: "HTTP/1.1"}
	var err error
	a.body, err = io.ReadAll(io.LimitReader(body, maxBody))
	n := int64(len(a.body))
	a.complete = n == maxBody || err == nil && (expected < 0 || n == expected)
	return a
}

// view is the answer as the Report shows it.
func (a *response) view() *HTTP {
	sum := sha256.Sum256(a.body)
	return &HTTP{
		Protocol:     a.protocol,
		Status:       a.status,
		Location:     escape(a.location),
		Server:       escape(a.server),
		BodyOctets:   int64(len(a.body)),
		BodySHA256:   hex.EncodeToString(sum[:]),
		BodyComplete: a.complete,
	}
}

// likeness says how much of the words of two bodies is the same: 1 for equal
// bodies, 0 for bodies without a word in common.
func (a *response) likeness(b *response) float64 {
	if bytes.Equal(a.body, b.body) {
		return 1
	}
	counts := map[string][2]int{}
	for i, body := range [][]byte{a.body, b.body} {
		for _, word := range bytes.FieldsFunc(body, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			c := counts[string(word)]
			c[i]++
			counts[string(word)] = c
		}
	}
	common, all := 0, 0
	for _, c := range counts {
		common += min(c[0], c[1])
		all += max(c[0], c[1])
	}
	if all == 0 {
		return 0
	}
	return float64(common) / float64(all)
}
