package pemfile_test

import (
	"bytes"
	"testing"

	"mutual/pki/pemfile"
)

// FuzzParse reads anything as a file. What the readers accept, they accept
// again as it is written.
func FuzzParse(f *testing.F) {
	s := newSamples(f)
	for _, seed := range []string{
		s.certPEM, s.requestPEM, s.listPEM, s.keyPEM, s.encryptedPEM,
		s.certPEM + s.keyPEM, "text\r\n" + s.certPEM + "\xef\xbb\xbf", s.sec1PEM(f),
		string(s.cert.Raw), string(s.request), string(s.list), string(s.pkcs8),
		string(s.sec1), string(s.pkcs1), string(s.encrypted), string(s.public),
		"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := pemfile.Parse(data)
		if err != nil {
			return
		}
		for _, item := range items {
			if again, err := pemfile.Parse(pemfile.EncodeCRL(item.DER)); err != nil || !bytes.Equal(again[0].DER, item.DER) {
				t.Fatalf("the item in line %d does not come back: %v", item.Line, err)
			}
		}
		if certs, err := pemfile.Certificates(data); err == nil {
			again, err := pemfile.Certificates(pemfile.EncodeCertificates(certs...))
			if err != nil || len(again) != len(certs) || len(certs) == 0 {
				t.Fatalf("%d certificates came back as %d: %v", len(certs), len(again), err)
			}
		}
		if request, err := pemfile.Request(data); err == nil && request == nil {
			t.Fatal("neither a request nor an error")
		}
		if key, err := pemfile.Key(data, nil); err == nil && key == nil {
			t.Fatal("neither a key nor an error")
		}
		if lists, err := pemfile.CRLs(data); err == nil && len(lists) == 0 {
			t.Fatal("neither a CRL nor an error")
		}
	})
}
