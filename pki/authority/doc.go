// Package authority is the certification authority: it prepares what may be
// signed, signs it once, decides what a revocation means, and makes CRLs.
//
// It keeps nothing itself. What must be remembered it gives to a Ledger, and
// it records before it signs.
package authority
