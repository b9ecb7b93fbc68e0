// Package pemfile reads and writes the files in which certificates, requests,
// CRLs and keys are kept: PEM (RFC 7468), or the DER of one of them.
//
// Reading is strict. A block that is damaged, unknown or out of place is an
// error that says which block it is and in which line it begins; nothing is
// skipped in silence but the text between the blocks. What is read is
// bounded, in octets and in blocks.
package pemfile

import (
	"fmt"
	"strings"
)

// Type is what an item is, in words: "certificate", "private key".
type Type string

// The types of items.
const (
	TypeCertificate  Type = "certificate"
	TypeRequest      Type = "certificate request"
	TypeCRL          Type = "CRL"
	TypeKey          Type = "private key"
	TypeEncryptedKey Type = "encrypted private key"
	TypePublicKey    Type = "public key"
)

// Item is one thing that a file holds.
type Item struct {
	Type Type
	DER  []byte // one whole SEQUENCE; nothing in it has been checked

	// Block and Line say where the item begins, both counted from 1. They are
	// 0 when the file is DER.
	Block, Line int

	label string // of RFC 7468; says in which form a private key is
}

// The labels of the three forms of a private key that is not encrypted.
const (
	labelPKCS8 = "PRIVATE KEY"
	labelSEC1  = "EC PRIVATE KEY"
	labelPKCS1 = "RSA PRIVATE KEY"
)

// typeOfLabel gives the type that a label stands for: those of RFC 7468, the
// other names for them that it lists (Section 4), and OpenSSL's for the older
// forms of a key. The zero value is for a label that is not known.
func typeOfLabel(label string) Type {
	switch label {
	case "CERTIFICATE", "X509 CERTIFICATE", "X.509 CERTIFICATE":
		return TypeCertificate
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return TypeRequest
	case "X509 CRL", "CRL":
		return TypeCRL
	case labelPKCS8, labelSEC1, labelPKCS1:
		return TypeKey
	case "ENCRYPTED PRIVATE KEY":
		return TypeEncryptedKey
	case "PUBLIC KEY":
		return TypePublicKey
	}
	return ""
}

// errorf puts the place of the item in front of an error.
func (i Item) errorf(format string, a ...any) error {
	err := fmt.Errorf(format, a...)
	if i.Block == 0 {
		return err
	}
	return fmt.Errorf("block %d (line %d): %w", i.Block, i.Line, err)
}

// inventory says in words what the items are: "a private key and 2 CRLs".
func inventory(items []Item) string {
	count := map[Type]int{}
	var order []Type
	for _, i := range items {
		if count[i.Type] == 0 {
			order = append(order, i.Type)
		}
		count[i.Type]++
	}
	var words []string
	for _, t := range order {
		words = append(words, quantity(count[t], t))
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func quantity(n int, t Type) string {
	switch {
	case n > 1:
		return fmt.Sprintf("%d %ss", n, t)
	case t == TypeEncryptedKey:
		return "an " + string(t)
	}
	return "a " + string(t)
}
