//go:build !race

package commands

// racing: the race detector is on.
const racing = false
