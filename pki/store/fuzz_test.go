package store

import (
	"strings"
	"testing"
)

// FuzzParseHead: a head that is read is written in one way, and read again as
// the same.
func FuzzParseHead(f *testing.F) {
	hash := strings.Repeat("0123456789abcdef", 4)
	for _, seed := range []string{
		"1:" + hash, "9223372036854775807:" + strings.ToUpper(hash), "007:" + hash, "+1:" + hash,
		"", ":", "1:", ":" + hash, "0:" + hash, "-1:" + hash, "9223372036854775808:" + hash,
		"1:" + hash[1:], "1:" + hash + "00", "1:" + hash[:62] + "zz", "1:" + hash + ":", " 1:" + hash, "1 :" + hash, "1:" + hash + "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		head, err := ParseHead(s)
		if err != nil {
			if head != (Head{}) || !strings.Contains(err.Error(), "is no head of a journal") {
				t.Errorf("%q gives %+v and %q", s, head, err)
			}
			return
		}
		if head.Number < 1 || len(head.Hash) != 64 || head.Hash != strings.ToLower(head.Hash) {
			t.Errorf("%q gives %+v", s, head)
		}
		if again, err := ParseHead(head.String()); err != nil || again != head {
			t.Errorf("%q gives %+v, and that %+v, %v", s, head, again, err)
		}
	})
}
