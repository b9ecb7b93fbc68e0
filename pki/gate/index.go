package gate

import (
	"crypto/x509"
	"sync"

	"mutual/pki"
)

// index has every connection, and those of each certificate from before it is
// judged until they are closed.
type index struct {
	mu     sync.Mutex
	all    map[*conn]struct{}
	byCert map[pki.Fingerprint]map[*conn]struct{}
	proven int  // connections that were let in
	closed bool // nobody comes in any more
}

func newIndex() *index {
	return &index{all: map[*conn]struct{}{}, byCert: map[pki.Fingerprint]map[*conn]struct{}{}}
}

// fewStrangers may always be in a handshake.
const fewStrangers = 64

// enter takes a connection in unless there are as many as may be, or those that
// have proved nothing yet are half of that: strangers must not keep out everyone
// else.
func (x *index) enter(c *conn, most int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || len(x.all) >= most || len(x.all)-x.proven >= max(most/2, fewStrangers) {
		return false
	}
	x.all[c] = struct{}{}
	return true
}

// claim notes whose certificate a connection presents, unless it was closed
// meanwhile.
func (x *index) claim(c *conn, f pki.Fingerprint) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, in := x.all[c]; !in {
		return false
	}
	if x.byCert[f] == nil {
		x.byCert[f] = map[*conn]struct{}{}
	}
	x.byCert[f][c] = struct{}{}
	c.claimed = f
	return true
}

// prove notes that a connection was let in.
func (x *index) prove(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, in := x.all[c]; in {
		c.proven = true
		x.proven++
	}
}

// leave forgets a connection.
func (x *index) leave(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, c)
	if c.proven {
		c.proven = false
		x.proven--
	}
	if of := x.byCert[c.claimed]; of != nil {
		if delete(of, c); len(of) == 0 {
			delete(x.byCert, c.claimed)
		}
	}
}

// of gives the connections of a certificate.
func (x *index) of(f pki.Fingerprint) []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return list(x.byCert[f])
}

// everyone gives all connections.
func (x *index) everyone() []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return list(x.all)
}

// holders gives one chain of each certificate that has connections.
func (x *index) holders() map[pki.Fingerprint][]*x509.Certificate {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make(map[pki.Fingerprint][]*x509.Certificate, len(x.byCert))
	for f, of := range x.byCert {
		for c := range of {
			out[f] = c.presented
			break
		}
	}
	return out
}

// size counts connections and certificates.
func (x *index) size() (conns, certs int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.all), len(x.byCert)
}

// shut lets nobody in any more.
func (x *index) shut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
}

func (x *index) isShut() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed
}

func list(set map[*conn]struct{}) []*conn {
	out := make([]*conn, 0, len(set))
	for c := range set {
		out = append(out, c)
	}
	return out
}
