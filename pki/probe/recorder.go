package probe

import (
	"net"
)

// The record types that a recorder looks for (RFC 8446, Section 5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
)

// recorder is a connection that remembers the first octet received, and the
// last alert that was sent in the clear: crypto/tls does not tell it.
type recorder struct {
	net.Conn
	first byte   // type of the first record received, 0 if none
	sent  *Alert // last plaintext alert sent
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if n > 0 && r.first == 0 {
		r.first = p[0]
	}
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	// type, version (2), length (2) = 2, level, description
	if n := len(p) - 7; n >= 0 && p[n] == recordAlert && p[n+3] == 0 && p[n+4] == 2 {
		r.sent = newAlert(int(p[n+6]), fromLocal)
	}
	return r.Conn.Write(p)
}
