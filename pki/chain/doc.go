// Package chain judges a certificate at a given time: does it lead to a trust
// anchor, is it within its lifetime, is it meant for the purpose, is it
// revoked?
//
// There are three outcomes, and the third is never folded into another: good,
// bad with the reason, and could not tell, because something that the answer
// needs is missing (a current revocation list) or not supported (an unknown
// critical extension).
//
// Chains are built by crypto/x509 from the certificates given and nothing
// else, never from the system's roots; what crypto/x509 does not check, or
// checks too laxly for client certificates, is checked here on every chain.
package chain
