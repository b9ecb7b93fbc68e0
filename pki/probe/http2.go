package probe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// maxFrames bounds the frames that are read for one answer. Those of an
	// honest server are few: the windows are as large as what is read.
	maxFrames    = 4096
	maxFrameSize = 16 << 10
	streamID     = 1 // our only stream
)

// errHTTP1 is for a page that can be had in HTTP/1.1 only (RFC 9113, Section 7):
// servers want that where they would renegotiate.
var errHTTP1 = fmt.Errorf("%w: the server wants HTTP/1.1", errHead)

// errReset is for a request that the server refuses as it would by closing the
// connection in HTTP/1.1.
var errReset = errors.New("the server resets the stream")

// exchangeHTTP2 makes the request as the first of a connection (RFC 9113,
// Section 3.4), and reads one final answer. Errors are as in readResponse.
func exchangeHTTP2(w io.Writer, r *bufio.Reader, req request) (*response, error) {
	octets, err := req.http2()
	if err != nil {
		return nil, err
	}
	_, _ = w.Write(octets) // the read tells
	return readHTTP2(w, r)
}

// http2 is the connection preface, our settings and the request.
func (r request) http2() ([]byte, error) {
	var fields bytes.Buffer
	encoder := hpack.NewEncoder(&fields)
	add := func(name, value string) error {
		return encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	err := errors.Join(add(":method", "GET"), add(":scheme", "https"), add(":authority", r.authority), add(":path", r.path))
	for _, f := range r.allFields() {
		err = errors.Join(err, add(strings.ToLower(f.Name), f.Value))
	}
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, nil)
	err = errors.Join(err,
		framer.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxBody},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHead},
		),
		framer.WriteWindowUpdate(0, maxBody),
	)
	// A block larger than a frame is continued (RFC 9113, Section 6.10).
	block := fields.Bytes()
	first := block[:min(len(block), maxFrameSize)]
	rest := block[len(first):]
	err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: streamID, BlockFragment: first, EndStream: true, EndHeaders: len(rest) == 0,
	}))
	for len(rest) > 0 {
		part := rest[:min(len(rest), maxFrameSize)]
		rest = rest[len(part):]
		err = errors.Join(err, framer.WriteContinuation(streamID, len(rest) == 0, part))
	}
	return out.Bytes(), err
}

// readHTTP2 reads frames until the answer has ended. Settings and pings are
// answered; what comes for other streams is ignored.
func readHTTP2(w io.Writer, r *bufio.Reader) (*response, error) {
	source := &errorKeeper{r: r}
	framer := http2.NewFramer(w, source)
	framer.SetMaxReadFrameSize(maxFrameSize)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.MaxHeaderListSize = maxHead
	var a *response
	for range maxFrames {
		frame, err := framer.ReadFrame()
		if err != nil {
			return endOfHTTP2(a, source.err, err)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck() // the next read tells
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = framer.WritePing(true, f.Data) // the same
			}
		case *http2.GoAwayFrame:
			if f.ErrCode == http2.ErrCodeHTTP11Required {
				return nil, errHTTP1
			}
			if f.LastStreamID < streamID {
				return nil, fmt.Errorf("%w: the server goes away: %v", errHead, f.ErrCode)
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == streamID && f.ErrCode == http2.ErrCodeHTTP11Required {
				return nil, errHTTP1
			}
			if f.StreamID == streamID {
				return endOfHTTP2(a, nil, fmt.Errorf("%w: %v", errReset, f.ErrCode))
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID != streamID {
				continue
			}
			if a == nil {
				if a, err = headOfHTTP2(f); err != nil {
					return nil, err
				}
			}
			if a != nil && f.StreamEnded() {
				a.complete = true
				return a, nil
			}
		case *http2.DataFrame:
			if f.StreamID != streamID || a == nil {
				continue
			}
			data := f.Data()
			a.body = append(a.body, data[:min(len(data), maxBody-len(a.body))]...)
			if f.StreamEnded() || len(a.body) == maxBody {
				a.complete = true
				return a, nil
			}
		}
	}
	return endOfHTTP2(a, nil, fmt.Errorf("over %d frames", maxFrames))
}

// endOfHTTP2 is for an answer that broke off: by an error of the connection's,
// which is returned as it is before an answer has begun, or of the frames.
func endOfHTTP2(a *response, connection, err error) (*response, error) {
	switch {
	case a != nil:
		return a, nil
	case connection != nil:
		return nil, connection
	}
	return nil, fmt.Errorf("%w: %w", errHead, err)
}

// errorKeeper keeps the error with which a connection ended.
type errorKeeper struct {
	r   io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil {
		k.err = err
	}
	return n, err
}

// headOfHTTP2 reads the head of an answer, nil if it is not a final one.
func headOfHTTP2(f *http2.MetaHeadersFrame) (*response, error) {
	status, err := strconv.ParseUint(f.PseudoValue("status"), 10, 16)
	if err != nil || status < 100 || status > 999 {
		return nil, fmt.Errorf("%w: the status %q", errHead, escape(f.PseudoValue("status")))
	}
	if status < 200 {
		return nil, nil
	}
	a := &response{head: head{status: int(status), length: -1}, protocol: "HTTP/2"}
	for _, field := range f.RegularFields() {
		switch field.Name {
		case "location":
			a.location = field.Value
		case "server":
			a.server = field.Value
		}
	}
	return a, nil
}
