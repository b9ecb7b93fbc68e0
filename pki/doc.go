// Package pki holds the vocabulary that every other package shares: serial
// numbers, revocation reasons, fingerprints, identity names, subject
// alternative names and lifetimes.
//
// A value of one of these types has been checked when it was made, so whoever
// holds one need not check it again. The package does no I/O and imports no
// package of this module.
package pki
