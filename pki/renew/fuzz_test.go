package renew

import (
	"testing"
	"time"

	"mutual/pki/store"
)

// FuzzRuleAt: a part of a life that is read makes every certificate due within
// its life, and never before it begins.
func FuzzRuleAt(f *testing.F) {
	for _, seed := range []string{"2/3", "1/2", "1/1000", "999/1000", "1/1", "0/3", "-1/3", "3/2", "1/1001", "1/", "/", "2/3/4", " 1/2", "+1/2", "2147483648/3", "１/２"} {
		f.Add(seed, int64(time.Hour))
	}
	f.Add("2/3", int64(time.Second))
	f.Add("999/1000", int64(100*365*24*time.Hour))
	f.Fuzz(func(t *testing.T, s string, life int64) {
		rule, err := RuleAt(s)
		if err != nil {
			if rule != (Rule{}) {
				t.Fatalf("%q gives both a rule and %v", s, err)
			}
			return
		}
		if life < 0 {
			return
		}
		var c store.Certificate
		c.Issued = time.Unix(1_800_000_000, 0)
		c.NotAfter = c.Issued.Add(time.Duration(life))
		if due := rule.Due(c); due.Before(c.Issued) || due.After(c.NotAfter) {
			t.Fatalf("%q makes a certificate from %v to %v due at %v", s, c.Issued, c.NotAfter, due)
		}
	})
}
