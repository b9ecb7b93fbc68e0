// Package proof proves of a gate that a revocation is at once: it opens
// connections of every kind with a client certificate, has it revoked, and sees
// what becomes of them, of a resumed session and of a new handshake.
package proof
