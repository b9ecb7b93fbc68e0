package pemfile

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// What is decoded line by line is what is decoded at once, the verdict too.
func FuzzDecoder(f *testing.F) {
	whole := strings.Repeat("QUJD", 1100)
	for _, text := range []string{"", "QQ==", "QUI=\nQUJD", "QR==", "Q\nUJ\nD", "QUJ\rD", "Q", "QUJD=", whole, whole + "QQ==", whole[:4096-2] + "==" + whole} {
		f.Add(text, 64)
	}
	f.Fuzz(func(t *testing.T, text string, width int) {
		var d decoder
		rest := strings.ReplaceAll(text, "\n", "")
		width = max(1, min(width, 10000))
		for len(rest) > 0 {
			n := min(width, len(rest))
			d.add([]byte(rest[:n]))
			rest = rest[n:]
		}
		got, err := d.end()
		want, wantErr := base64.StdEncoding.Strict().DecodeString(text)
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%q in lines of %d is %x, %v, and at once %x, %v", text, width, got, err, want, wantErr)
		}
	})
}
