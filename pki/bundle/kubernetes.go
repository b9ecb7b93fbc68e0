package bundle

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"

	"mutual/pki"
	"mutual/pki/pemfile"
)

// maxSecretName is the length of a DNS-1123 subdomain, which the name of a
// Secret is.
const maxSecretName = 253

// encodeSecret writes a Secret of the type kubernetes.io/tls: tls.crt is the
// chain and tls.key the key. ca.crt, which controllers expect beside them, is
// what the other side is checked against.
func encodeSecret(id Identity, anchors []*x509.Certificate) ([]byte, error) {
	key, err := id.keyPEM()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	// The name is quoted: "1e3" and "null" are no strings in YAML.
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: %q\ntype: kubernetes.io/tls\ndata:\n", SecretName(id))
	put := func(name string, pem []byte) {
		fmt.Fprintf(&b, "  %s: %s\n", name, base64.StdEncoding.EncodeToString(pem))
	}
	put("tls.crt", pemfile.EncodeCertificates(id.Chain...))
	put("tls.key", key)
	if len(anchors) > 0 {
		put("ca.crt", pemfile.EncodeCertificates(anchors...))
	}
	return b.Bytes(), nil
}

// SecretName makes the name of a Secret, a DNS-1123 subdomain, of the name of
// an identity: in lower case, with "-" for every other character. Where
// nothing remains, it is made of the certificate's SHA-256.
func SecretName(id Identity) string {
	var labels []string
	for label := range strings.SplitSeq(strings.ToLower(id.Name), ".") {
		label = strings.Trim(strings.Map(secretCharacter, label), "-")
		if label != "" {
			labels = append(labels, label)
		}
	}
	name := strings.Join(labels, ".")
	if name == "" {
		return "mutual-" + strings.ToLower(strings.ReplaceAll(pki.FingerprintOf(id.Chain[0].Raw).String(), ":", ""))[:16]
	}
	return strings.Trim(name[:min(len(name), maxSecretName)], "-.")
}

func secretCharacter(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}
