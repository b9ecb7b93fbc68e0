// Package crl encodes, parses and numbers certificate revocation lists
// (RFC 5280, Section 5).
//
// What it writes is one full list of one CA key: version 2, authority key
// identifier, number, entries sorted by serial. What it reads is any full
// list in DER; lists that cannot be applied as they stand (indirect, delta,
// of some reasons only, with an unknown critical extension) are reported as
// an *UnsupportedError and never taken for a list without entries.
//
// The encoding is our own because crypto/x509 takes seconds for a million
// entries, and the parser is because that of crypto/x509 ignores what it does
// not expect: a signed list with one stray element before
// revokedCertificates parses there as empty.
package crl
