package bundle

import (
	"fmt"
	"slices"
)

// Format is a format of a file in which an identity is handed over.
type Format string

// The formats.
const (
	PKCS12     Format = "p12" // key and chain, RFC 7292
	JKS        Format = "jks" // key and chain, for Java
	PEM        Format = "pem" // key and chain, neither encrypted
	DER        Format = "der" // the certificate alone
	PKCS7      Format = "p7b" // the chain; PEM, which OpenSSL expects and Windows and Java also read
	Kubernetes Format = "k8s" // key, chain and trust anchors in a Secret, YAML
)

// Formats lists the formats.
func Formats() []Format { return []Format{PKCS12, JKS, PEM, DER, PKCS7, Kubernetes} }

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("%q is no format: p12, jks, pem, der, p7b and k8s are", s)
}

// HasKey reports whether a file of the format holds the private key.
func (f Format) HasKey() bool { return f != DER && f != PKCS7 }

// HasPassword reports whether a password protects the key in it.
func (f Format) HasPassword() bool { return f == PKCS12 || f == JKS }

// Extension is how the name of a file of the format ends, with its dot.
func (f Format) Extension() string {
	if f == Kubernetes {
		return ".yaml"
	}
	return "." + string(f)
}
