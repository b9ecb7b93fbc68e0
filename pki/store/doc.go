// Package store is a PKI on disk: a private directory with the CA's keys, the
// SQLite inventory and journal, and the files that servers read.
//
// The database is the truth. Every other file but the keys can be made again
// from it. Writers queue at a lock, for fairness only; what must be unique is
// decided by the database.
package store
