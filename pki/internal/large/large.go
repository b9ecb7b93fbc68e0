// Package large makes room for what is large and filled at once, such as a CRL
// with a million entries.
package large

// least is where huge pages begin to count.
const least = 4 << 20

// Make gives an empty slice with room for n octets. Where the system has huge
// pages it is asked for them: a quarter of the time of a CRL with a million
// entries was the system handing out small ones.
func Make(n int) []byte {
	b := make([]byte, 0, n)
	if n >= least {
		advise(b[:n])
	}
	return b
}
