package pkcs12

import (
	"bytes"
	"crypto/x509"
	"path/filepath"
	"slices"
	"testing"

	"mutual/pki/keys"
)

// realFiles are the files of testdata/bundles that are PKCS#12.
func realFiles(f *testing.F) [][]byte {
	f.Helper()
	var files [][]byte
	for _, pattern := range []string{"*.p12", "*.pem"} {
		paths, err := filepath.Glob(filepath.Join(bundles, pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			files = append(files, bundle(f, filepath.Base(path)))
		}
	}
	if len(files) < 5 {
		f.Fatalf("only %d files in %s", len(files), bundles)
	}
	return files
}

// cheap is the work that a fuzzed file may ask for.
const cheap = 1 << 14

// FuzzDecode reads anything, and writes and reads again what was readable.
func FuzzDecode(f *testing.F) {
	for _, data := range realFiles(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data, password, cheap)
		if err != nil {
			return
		}
		if c.Key == nil || len(c.Certificates) == 0 {
			t.Fatal("something is missing, and it is no error")
		}
		c.FriendlyName = name // a file may have one that cannot be written
		p := Modern.parameters()
		p.iterations = 1
		written, err := encode(*c, password, p)
		if !keys.Equal(c.Key.Public(), c.Certificates[0].PublicKey) {
			if err == nil {
				t.Fatal("a certificate that is not the key's was written as the key's")
			}
			return
		}
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := decode(written, password, cheap)
		if err != nil || !keys.Equal(again.Key.Public(), c.Key.Public()) || again.FriendlyName != name ||
			!slices.EqualFunc(again.Certificates, c.Certificates, (*x509.Certificate).Equal) {
			t.Fatalf("what was written is read as %+v, %v", again, err)
		}
	})
}

// FuzzSafes is behind the MAC, where only who knows the password comes.
func FuzzSafes(f *testing.F) {
	for _, data := range realFiles(f) {
		safe, _, err := readPFX(data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(safe)
	}
	f.Fuzz(func(t *testing.T, safe []byte) {
		d := decoder{opener: opener{password: []byte(password), bmp: terminated(password), left: cheap}}
		err := d.readSafes(safe) // must end
		d.check(t, err)
	})
}

// check fails if more was done or kept than is allowed.
func (d *decoder) check(t *testing.T, err error) {
	t.Helper()
	switch {
	case d.left < 0:
		t.Fatalf("%d iterations too many", -d.left)
	case len(d.contents.Certificates) > maxCertificates || err == nil && d.bags > maxBags:
		t.Fatalf("%d certificates, %d bags: %v", len(d.contents.Certificates), d.bags, err)
	}
	for _, cert := range d.contents.Certificates {
		if cert == nil {
			t.Fatalf("a certificate is missing: %v", err)
		}
	}
}

// FuzzBags is behind the encryption.
func FuzzBags(f *testing.F) {
	for _, data := range realFiles(f) {
		safe, mac, err := readPFX(data)
		if err != nil {
			f.Fatal(err)
		}
		d := decoder{opener: opener{password: []byte(password), left: MaxCost}}
		if err := d.checkMAC(mac, safe, password); err != nil {
			f.Fatal(err)
		}
		list, err := readList(safe)
		if err != nil {
			f.Fatal(err)
		}
		for !list.Empty() {
			kind, content, err := readContentInfo(&list)
			if err != nil {
				f.Fatal(err)
			}
			bags, err := readOctets(content)
			if kind.Equal(oidEncryptedData) {
				bags, err = d.openEncryptedData(content)
			}
			if err != nil {
				f.Fatal(err)
			}
			f.Add(bags)
		}
	}
	f.Fuzz(func(t *testing.T, bags []byte) {
		d := decoder{opener: opener{password: []byte(password), bmp: terminated(password), left: cheap}}
		err := d.readBags(bags) // must end
		d.check(t, err)
	})
}

// FuzzToDER has a fixed point: what came out comes out again.
func FuzzToDER(f *testing.F) {
	for _, data := range realFiles(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		der, err := toDER(data)
		if err != nil {
			return
		}
		if again, err := toDER(der); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x becomes %x: %v", der, again, err)
		}
	})
}
