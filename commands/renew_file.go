package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// placeOfFile finds the pair to which a certificate file belongs: as the PKI
// remembers it, or with its key in the same file, or beside it under the same
// name.
func (r *run) placeOfFile(ctx context.Context, p *store.PKI, what, key string, cert store.Certificate) (store.Place, error) {
	path := strings.TrimPrefix(what, "file:")
	if path == "-" {
		return store.Place{}, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return store.Place{}, fmt.Errorf("finding the file: %w", err)
	}
	known, err := p.PlaceOf(ctx, cert.Fingerprint)
	if err != nil {
		return store.Place{}, err
	}
	if key != "" {
		if key, err = filepath.Abs(key); err != nil {
			return store.Place{}, fmt.Errorf("finding the key: %w", err)
		}
	}
	switch {
	case key == "" && (sameFile(known.Certificate, path) || known.Certificate == "" && sameFile(known.Combined, path)):
		return known, nil
	case key == "" && holdsKey(path):
		return store.Place{Combined: path}, nil
	case key == "":
		key = strings.TrimSuffix(path, filepath.Ext(path)) + ".key"
		if _, err := os.Stat(key); err != nil {
			key = "" // renewing says what is missing, if it is needed
		}
	}
	return store.Place{Key: key, Certificate: path}, nil
}

func holdsKey(path string) bool {
	data, err := pemfile.ReadFile(path, pemfile.MaxFile)
	if err != nil {
		return false
	}
	items, err := pemfile.Parse(data)
	if err != nil {
		return false
	}
	for _, item := range items {
		if item.Type == pemfile.TypeKey || item.Type == pemfile.TypeEncryptedKey {
			return true
		}
	}
	return false
}
