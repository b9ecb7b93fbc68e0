package commands

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const tenGB = 10 << 30

// hostiles are all that the readers get.
func hostiles(t *testing.T) []hostile {
	t.Helper()
	cases := []hostile{
		{name: "10 GB of nothing", make: sparse(nil, tenGB)},
		{name: "10 GB after a BEGIN", few: true, make: sparse([]byte("-----BEGIN CERTIFICATE-----\n"), tenGB)},
		{name: "10 GB that are one SEQUENCE", few: true, make: sparse([]byte{0x30, 0x85, 0x02, 0x7f, 0xff, 0xff, 0xf9}, tenGB)},
		{name: "a backup of 10 GB", kind: "backup", make: sparse(backupHead(t, tenGB), tenGB)},
		{name: "an endless device", make: func(t *testing.T, path string) { linkTo(t, "/dev/zero", path) }},
		{name: "a directory", make: func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "endless zeros", feed: endless(nil, make([]byte, 1<<16))},
		{name: "endless lines", few: true, feed: endless(nil, bytes.Repeat([]byte("\n"), 1<<16))},
		{name: "endless text", few: true, feed: endless(nil, []byte(strings.Repeat("x", 1<<16)))},
		{name: "an age file without an end", few: true, feed: endless([]byte("age-encryption.org/v1\n"), []byte(strings.Repeat("-> X25519 x\nx\n", 1<<10)))},
		{name: "an endless backup", kind: "backup", feed: endless(backupHead(t, tenGB), make([]byte, 1<<16))},
		{name: "a DER without an end", feed: endless([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, make([]byte, 1<<16))},
		{name: "a JKS of many entries", few: true, feed: endless([]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02\xff\xff\xff\xff"), make([]byte, 1<<16))},
	}
	for label, kind := range map[string]string{
		"CERTIFICATE": "certificate", "CERTIFICATE REQUEST": "request", "X509 CRL": "list",
		"PRIVATE KEY": "key", "ENCRYPTED PRIVATE KEY": "key", "PKCS12": "bundle",
	} {
		line := strings.Repeat("MIIB", 16) + "\n"
		cases = append(cases,
			hostile{name: "an endless " + label, few: true, kind: kind, feed: endless([]byte("-----BEGIN "+label+"-----\n"), []byte(strings.Repeat(line, 1<<10)))},
			hostile{name: "one giant " + label, few: true, kind: kind, shown: label == "ENCRYPTED PRIVATE KEY", make: file(giant(label, 42_000_000))},
			hostile{name: "a nested " + label, few: true, kind: kind, make: file(func(yield func([]byte) bool) { yield(block(label, nested(1<<20))) })},
			hostile{name: "100 000 blocks of " + label, kind: kind, make: file(times(100_000, block(label, []byte{0x30, 0})))},
		)
	}
	cases = append(cases,
		hostile{name: "a nested DER", few: true, make: file(func(yield func([]byte) bool) { yield(nested(1 << 20)) })},
		hostile{name: "an indefinite DER", few: true, make: file(times(1<<19, []byte{0x30, 0x80}))},
		hostile{name: "100 000 certificates", kind: "certificate", make: file(times(100_000, fixture(t, "client.pem")))},
		hostile{name: "100 000 lists", kind: "list", make: file(times(100_000, fixture(t, "crl-issuing.pem")))},
	)
	for name, kdf := range dearKDFs() {
		key := block("ENCRYPTED PRIVATE KEY", encryptedKey(kdf))
		cases = append(cases,
			hostile{name: name, kind: "key", shown: true, make: file(times(1, key))},
			hostile{name: name + " beside a certificate", kind: "bundle", shown: true, make: file(times(1, append(fixture(t, "client.pem"), key...)))},
		)
	}
	return append(cases,
		hostile{name: "a PKCS#12 with a dear MAC", kind: "bundle", make: file(times(1, dearPKCS12()))},
		hostile{name: "a PKCS#12 of nested safes", kind: "bundle", make: file(times(1, nestedPKCS12()))},
	)
}

// file makes a file of the parts. A large one is written in parts: the peak of
// this process counts for the programs that it starts.
func file(parts iter.Seq[[]byte]) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		w := bufio.NewWriter(f)
		for part := range parts {
			_, _ = w.Write(part) // Flush says what went wrong
		}
		err = w.Flush()
		if closed := f.Close(); err != nil || closed != nil {
			t.Fatal(err, closed)
		}
	}
}

// times gives the same again and again.
func times(n int, part []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for range n {
			if !yield(part) {
				return
			}
		}
	}
}

// sparse makes a file that begins as given and has a size that takes no room.
func sparse(head []byte, size int64) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		file(times(1, head))(t, path)
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}

func linkTo(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// endless writes the head and then the same for ever.
func endless(head, again []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(head)
		for err == nil {
			_, err = w.Write(again)
		}
		return err
	}
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("../testdata/golden/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func block(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// giant is one block of a SEQUENCE of so many octets, in one line.
func giant(label string, size int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		head := []byte{0x30, 0x84, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
		_ = yield([]byte("-----BEGIN "+label+"-----\n"+base64.StdEncoding.EncodeToString(head))) &&
			yield(bytes.Repeat([]byte("A"), size/3*4)) &&
			yield([]byte("\n-----END "+label+"-----\n"))
	}
}

// nested is a SEQUENCE in a SEQUENCE, so many deep.
func nested(deep int) []byte {
	const header = 6 // the tag and a length in four octets
	out := make([]byte, 0, deep*header)
	for i := deep - 1; i >= 0; i-- {
		n := i * header
		out = append(out, 0x30, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return out
}

func build(f cryptobyte.BuilderContinuation, tag cryptobyte_asn1.Tag) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, f)
	return b.BytesOrPanic()
}

func sequenceOf(parts ...[]byte) []byte {
	return build(func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) }, cryptobyte_asn1.SEQUENCE)
}

func octetsOf(content []byte) []byte {
	return build(func(b *cryptobyte.Builder) { b.AddBytes(content) }, cryptobyte_asn1.OCTET_STRING)
}

func explicitly(content []byte) []byte {
	return build(func(b *cryptobyte.Builder) { b.AddBytes(content) }, cryptobyte_asn1.Tag(0).ContextSpecific().Constructed())
}

func number(n int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(n)
	return b.BytesOrPanic()
}

func objectID(oid ...int) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier(oid))
	return b.BytesOrPanic()
}

// dearKDFs are key derivations of RFC 8018 that would take days, or all memory.
func dearKDFs() map[string][]byte {
	pbkdf2, scrypt := objectID(1, 2, 840, 113549, 1, 5, 12), objectID(1, 3, 6, 1, 4, 1, 11591, 4, 11)
	salt := octetsOf([]byte("saltsalt"))
	return map[string][]byte{
		"PBKDF2 of 3 000 000 000 iterations": sequenceOf(pbkdf2, sequenceOf(salt, number(3_000_000_000))),
		"PBKDF2 of 2^62 iterations":          sequenceOf(pbkdf2, sequenceOf(salt, number(1<<62))),
		"scrypt with N=2^40":                 sequenceOf(scrypt, sequenceOf(salt, number(1<<40), number(8), number(1))),
		"scrypt with r=2^30":                 sequenceOf(scrypt, sequenceOf(salt, number(16384), number(1<<30), number(1))),
		"scrypt with p=2^30":                 sequenceOf(scrypt, sequenceOf(salt, number(16384), number(8), number(1<<30))),
	}
}

// encryptedKey is an EncryptedPrivateKeyInfo with the key derivation.
func encryptedKey(kdf []byte) []byte {
	cipher := sequenceOf(objectID(2, 16, 840, 1, 101, 3, 4, 1, 42), octetsOf(make([]byte, 16)))
	return sequenceOf(sequenceOf(objectID(1, 2, 840, 113549, 1, 5, 13), sequenceOf(kdf, cipher)), octetsOf(make([]byte, 128)))
}

// dearPKCS12 asks for 2^31-1 iterations before anything can be told.
func dearPKCS12() []byte {
	safe := octetsOf(sequenceOf())
	mac := sequenceOf(sequenceOf(sequenceOf(objectID(2, 16, 840, 1, 101, 3, 4, 2, 1)), octetsOf(make([]byte, 32))), octetsOf(make([]byte, 8)), number(1<<31-1))
	return sequenceOf(number(3), sequenceOf(objectID(1, 2, 840, 113549, 1, 7, 1), explicitly(safe)), mac)
}

// nestedPKCS12 has safe contents in safe contents, 10 000 deep.
func nestedPKCS12() []byte {
	contents := sequenceOf()
	for range 10_000 {
		contents = sequenceOf(sequenceOf(objectID(1, 2, 840, 113549, 1, 12, 10, 1, 6), explicitly(contents)))
	}
	data := objectID(1, 2, 840, 113549, 1, 7, 1)
	safes := sequenceOf(sequenceOf(data, explicitly(octetsOf(contents))))
	mac := sequenceOf(sequenceOf(sequenceOf(objectID(2, 16, 840, 1, 101, 3, 4, 2, 1)), octetsOf(make([]byte, 32))), octetsOf(make([]byte, 8)), number(1))
	return sequenceOf(number(3), sequenceOf(data, explicitly(octetsOf(safes))), mac)
}

// backupHead is a backup up to where its database begins, which it says has the
// size.
func backupHead(t *testing.T, size int64) []byte {
	t.Helper()
	manifest, err := json.Marshal(map[string]any{"format": 1, "database": map[string]any{"size": size, "sha256": strings.Repeat("0", 64)}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(manifest)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put(t, w, "manifest.json", int64(len(manifest)), manifest)
	line := fmt.Appendf(nil, "%s  manifest.json\n", hex.EncodeToString(sum[:]))
	put(t, w, "manifest.json.sha256", int64(len(line)), line)
	put(t, w, "mutual.db", size, nil)
	return b.Bytes()
}

func put(t *testing.T, w *tar.Writer, name string, size int64, content []byte) {
	t.Helper()
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size, Format: tar.FormatGNU})
	if err == nil {
		_, err = w.Write(content)
	}
	if err != nil {
		t.Fatal(err)
	}
}
