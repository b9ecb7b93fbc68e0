//go:build unix

package commands

import "syscall"

// reservedFiles is what a gate opens beside connections.
const reservedFiles = 64

// possibleConnections gives how many connections a gate can have: each may need
// another one to the upstream, and some descriptors are for files and sockets of
// its own.
func possibleConnections(wanted int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return wanted
	}
	possible := max(int64(limit.Cur)-reservedFiles, 2) / 2 //nolint:gosec // more than an int64 holds is no limit
	if possible > 0 && possible < int64(wanted) {
		return int(possible)
	}
	return wanted
}
