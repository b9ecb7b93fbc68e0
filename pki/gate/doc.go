// Package gate is a proxy that lets in who holds a genuine client certificate
// that is not revoked, and nobody else.
//
// A Source says who is genuine: a PKI on this machine, or certificates of CAs
// with revocation lists. Rules say who of these may do what. What is let in is
// looked at in the handshake, at every request, when the source or the rules
// change, and when the certificate ends: a connection that would not be let in
// any more is cut.
//
// Each connection is in the index of live ones before its certificate is looked
// up. A revocation that becomes durable while a handshake runs is therefore
// seen by one of the two: by the lookup, which comes after, or by the cut, which
// finds the connection in the index.
package gate
