package large_test

import (
	"bytes"
	"testing"

	"mutual/pki/internal/large"
)

// What is made is empty, has its room, and can be filled to the end, below and
// above the size from which huge pages are asked for.
func TestMake(t *testing.T) {
	for _, n := range []int{0, 1, 4<<20 - 1, 4 << 20, 9<<20 + 5} {
		b := large.Make(n)
		if len(b) != 0 || cap(b) < n {
			t.Fatalf("Make(%d) has %d of %d octets", n, len(b), cap(b))
		}
		if n == 0 {
			continue
		}
		first := &b[:1][0]
		b = append(b, bytes.Repeat([]byte{0xa5}, n)...)
		if &b[0] != first || !bytes.Equal(b, bytes.Repeat([]byte{0xa5}, n)) {
			t.Errorf("Make(%d) was not filled in its place", n)
		}
	}
}
