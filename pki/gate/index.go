package gate

import (
	"container/list"
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
	// strangers are the connections that were not let in yet, the oldest first.
	strangers *list.List
	closed    bool // nobody comes in any more
}

func newIndex() *index {
	return &index{strangers: list.New(), all: map[*conn]struct{}{}, byCert: map[pki.Fingerprint]map[*conn]struct{}{}}
}

// enter takes a connection in unless there are as many as may be. Those that have
// proved nothing yet are at most half of that: the oldest of them has to make
// room, so that who says nothing keeps nobody out for long.
func (x *index) enter(c *conn, most int) (entered bool, makesRoom *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false, nil
	}
	if oldest := x.strangers.Front(); oldest != nil && x.strangers.Len() >= max(most/2, 1) {
		makesRoom = oldest.Value.(*conn)
		x.forget(makesRoom)
	}
	if len(x.all) >= most {
		return false, makesRoom
	}
	x.all[c] = struct{}{}
	c.stranger = x.strangers.PushBack(c)
	return true, makesRoom
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

// prove notes that a connection was let in. It is false where it was closed
// meanwhile.
func (x *index) prove(c *conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, in := x.all[c]
	if in && c.stranger != nil {
		x.strangers.Remove(c.stranger)
		c.stranger = nil
	}
	return in
}

// forget takes a connection out of those that count.
func (x *index) forget(c *conn) {
	delete(x.all, c)
	if c.stranger != nil {
		x.strangers.Remove(c.stranger)
		c.stranger = nil
	}
}

// leave forgets a connection that is closed.
func (x *index) leave(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(c)
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
	return connsOf(x.byCert[f])
}

// everyone gives all connections.
func (x *index) everyone() []*conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return connsOf(x.all)
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

func connsOf(set map[*conn]struct{}) []*conn {
	out := make([]*conn, 0, len(set))
	for c := range set {
		out = append(out, c)
	}
	return out
}
