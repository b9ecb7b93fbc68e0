// Package probe tells by experiment whether a TLS endpoint really enforces
// client certificates.
//
// It connects as nobody, with a certificate that the server should know, and
// with certificates that it must refuse, over TLS 1.2 and 1.3 apart. It reads
// before it judges: in TLS 1.3 the client's certificate is in the last flight of
// the handshake (RFC 8446, Section 2), so the handshake has ended for the client
// before the server has judged it, and the verdict is what is read next. Where
// the endpoint speaks HTTP it asks for a page, for some servers refuse there, and
// judges by the difference to what nobody gets.
//
//	config.go    what a probe is given
//	probe.go     which connections are made, in which order
//	dial.go      to the endpoint, through a proxy or not
//	connect.go   one connection: handshake, the wait for a verdict, a request
//	identity.go  the certificates that a server must refuse
//	http.go, http2.go   the request and its answer
//	judge.go     what one connection says by TLS alone
//	page.go      what the connections for one page say together
//	mode.go      how the endpoint treats certificates, and whether that was expected
//	finding.go   what to know and to do about it
//	report.go    the result
//
// A Report holds no unbounded and no unescaped text of the peer's. Nothing
// here asks what time it is or prints: the caller gives Config.Now and renders
// the Report.
package probe
