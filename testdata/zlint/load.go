package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/zmap/zcrypto/x509"
)

const pemBegin = "-----BEGIN "

// object is one thing to lint: exactly one of certificate and list is set.
type object struct {
	name        string // the file, and "#N" for the Nth of a file with several
	certificate *x509.Certificate
	list        *x509.RevocationList
}

// load reads every certificate and CRL in the file; a file with none, or with
// anything that cannot be parsed, is an error.
func load(path string) ([]object, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(data, []byte(pemBegin)) {
		o, err := parseDER(data)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", path, err)
		}
		o.name = path
		return []object{o}, nil
	}
	objects, err := parsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	for i := range objects {
		objects[i].name = path
		if len(objects) > 1 {
			objects[i].name = fmt.Sprintf("%s#%d", path, i+1)
		}
	}
	return objects, nil
}

func parsePEM(data []byte) ([]object, error) {
	// pem.Decode skips a block that it cannot read, which would then go
	// unseen: every block that begins must also have been read.
	begun := bytes.Count(data, []byte(pemBegin))
	var objects []object
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		o, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(objects)+1, err)
		}
		objects = append(objects, o)
	}
	if len(objects) != begun {
		return nil, fmt.Errorf("only %d of %d PEM blocks can be read", len(objects), begun)
	}
	return objects, nil
}

func parseBlock(block *pem.Block) (object, error) {
	switch block.Type {
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		return object{certificate: certificate}, err
	case "X509 CRL":
		list, err := x509.ParseRevocationList(block.Bytes)
		return object{list: list}, err
	default:
		return object{}, fmt.Errorf("type %q is neither a certificate nor a CRL", block.Type)
	}
}

func parseDER(data []byte) (object, error) {
	certificate, certificateErr := x509.ParseCertificate(data)
	if certificateErr == nil {
		return object{certificate: certificate}, nil
	}
	list, listErr := x509.ParseRevocationList(data)
	if listErr == nil {
		return object{list: list}, nil
	}
	return object{}, fmt.Errorf("neither a certificate (%w) nor a CRL (%w)", certificateErr, listErr)
}
