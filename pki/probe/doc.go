// Package probe tells by experiment whether a TLS endpoint really requires
// client certificates.
//
// It connects without a certificate and, if it is given one, with it, over
// TLS 1.2 and 1.3 apart, reads before it judges, asks for a page where the
// endpoint speaks HTTP, and judges what came back by the difference to the
// connection without a certificate. In TLS 1.3 the client's certificate is in
// the last flight of the handshake (RFC 8446, Section 2), so the handshake has
// ended for the client before the server has judged it: the verdict is what is
// read next.
//
// A Report holds no unbounded and no unescaped text of the peer's. Nothing
// here reads the clock or prints: the caller gives Config.Now and renders the
// Report.
package probe
