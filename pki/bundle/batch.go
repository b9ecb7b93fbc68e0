package bundle

import "mutual/pki/internal/durable"

// Pair is a key with the certificate and its chain, one of many that are written
// together: into a directory (BatchDir) or a tar archive (BatchTar).
//
// The order in which nothing can be lost is that of a hand-over. Stage takes the
// key. Keep makes the keys of many pairs durable, before their certificates are
// issued. Put writes those, which it makes durable, too, and gives the files
// their names. Drop is for a pair that is not issued.
type Pair struct {
	Base  string // the beginning of the files' names: pki.Name.FileBase
	Key   []byte // PEM
	Chain []byte // PEM, the certificate first; not before Put
	Err   error  // set by Put: why just this pair has not got its names

	key *durable.Staged // in a directory
}
