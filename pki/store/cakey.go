package store

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"mutual/pki"
	"mutual/pki/internal/durable"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// The files of the newest CA of a role are named by the role alone (root.key,
// issuing.crt, crl/issuing.crl); those of an older one that is still in use
// also by its key (issuing-0123abcd.key), as its common name is.

// keyFile and certificateFile name the files of the newest CA of a role.
func keyFile(role pki.Kind) string         { return string(role) + ".key" }
func certificateFile(role pki.Kind) string { return string(role) + ".crt" }

// shortID is how people tell CA keys apart: the first four octets of the key
// identifier.
func shortID(keyID []byte) string { return hex.EncodeToString(keyID[:min(4, len(keyID))]) }

// byKey names the files of a CA by its role and key.
func byKey(role pki.Kind, keyID []byte) string { return string(role) + "-" + shortID(keyID) }

// base is how the names of the CA's files begin.
func (r caRow) base() string {
	if r.newest {
		return string(r.role)
	}
	return byKey(r.role, r.keyID)
}

// String names the CA for people.
func (r caRow) String() string {
	if r.newest {
		return string(r.role) + " CA"
	}
	return fmt.Sprintf("older %s CA %s", r.role, shortID(r.keyID))
}

// keyPlaces lists where the CA's key may lie. A new key is named by itself
// first and by its role once it is certified, so that a crash between any two
// steps leaves every key in one of its two places.
func (p *PKI) keyPlaces(r caRow) []string {
	return []string{p.Path(byKey(r.role, r.keyID) + ".key"), p.Path(keyFile(r.role))}
}

// keyHere finds the file that should hold the CA's key, without reading it;
// empty: it is not here.
func (p *PKI) keyHere(r caRow) string {
	places := p.keyPlaces(r)
	if !r.newest {
		places = places[:1]
	}
	for _, path := range places {
		if checkMode(path, 0o600) == nil {
			return path
		}
	}
	return ""
}

// CAFileBase is how the names of the files of an issuing CA begin that lives
// elsewhere, or waits for its certificate: issuing and the key.
func CAFileBase(public crypto.PublicKey) (string, error) {
	keyID, err := keys.KeyID(public)
	return byKey(pki.KindIssuing, keyID), err
}

// keyName matches the files of CA keys, in use or not.
var keyName = regexp.MustCompile(`^(root|issuing)(-[0-9a-f]{8})?\.key$`)

// keyFiles lists every file of a CA key in a PKI's directory.
func keyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for the CA keys: %w", err)
	}
	var out []string
	for _, e := range entries {
		if keyName.MatchString(e.Name()) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

// settleKeys gives the keys of a role their names after another key has become
// the newest: the former one goes from ROLE.key to ROLE-KEY.key, and the
// newest takes its place. A crash leaves every key under one name or two, and
// the next publishing goes on.
func (p *PKI) settleKeys(ctx context.Context, role pki.Kind) error {
	rows, err := p.db.QueryContext(ctx, `SELECT key_id FROM ca WHERE role = $1 ORDER BY id DESC LIMIT 2`, string(role))
	if err != nil {
		return wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var ids [][]byte
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return wrap("reading the CAs", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil || len(ids) < 2 {
		return wrap("reading the CAs", err)
	}
	return p.moveKeys(role, p.Path(byKey(role, ids[0])+".key"), p.Path(byKey(role, ids[1])+".key"))
}

// settleKeysAlone is settleKeys while no publisher gives keys their names.
func (p *PKI) settleKeysAlone(ctx context.Context, role pki.Kind) error {
	release, err := p.queueToPublish(ctx)
	if err != nil {
		return err
	}
	defer release()
	return p.settleKeys(ctx, role)
}

// caQueue is where acts on the CAs and their keys queue. Unlike the other
// queues it is more than fairness: each act begins where the keys of the one
// before lie under their names.
const caQueue = "ca.lock"

func (p *PKI) queueForCAs(ctx context.Context) (release func(), err error) {
	if err := p.checkMayWrite(); err != nil {
		return nil, err
	}
	return p.queue(ctx, caQueue, "another act on the CAs")
}

func (p *PKI) moveKeys(role pki.Kind, newest, former string) error {
	place := p.Path(keyFile(role))
	if _, err := os.Lstat(newest); err != nil {
		return nil // it has its name, or lies elsewhere
	}
	if _, err := os.Lstat(former); errors.Is(err, fs.ErrNotExist) {
		if err := linkKey(place, former); err != nil {
			return err
		}
	}
	return durable.Rename(newest, place)
}

// linkKey gives a key a second name. What is not there needs none: the former
// key may lie elsewhere.
func linkKey(from, to string) error {
	data, err := pemfile.ReadFile(from, pemfile.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping the former key: %w", err)
	}
	return durable.WriteFile(to, data, 0o600)
}
