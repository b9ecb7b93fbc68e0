package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"mutual/pki"
)

// Identity is what the inventory knows of a name.
type Identity struct {
	Name        pki.Name
	Blocked     bool
	BlockReason pki.Reason
	BlockedAt   time.Time

	id int64
}

// Reading is one way to read what somebody names, and what it names then.
type Reading struct {
	As           string    // name, file, sha256, sha1, serial
	Identity     *Identity // for a name
	Certificates []Certificate
}

func (r Reading) describe() string {
	if len(r.Certificates) == 0 {
		return "nothing"
	}
	c := r.Certificates[0]
	s := fmt.Sprintf("%s, serial %s", subjectOf(c.Name, c.Kind), c.Serial)
	if more := len(r.Certificates) - 1; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// Resolve finds what a text names: the name of an identity, a fingerprint
// (SHA-256 or SHA-1, by length), a serial in hexadecimal or in decimal. Two
// readings that name different certificates are an *AmbiguousError; name:,
// serial:, sha256: and sha1: in front choose one.
func (p *PKI) Resolve(ctx context.Context, text string) (Reading, error) {
	readings := []struct {
		as   string
		read func(context.Context, string) (Reading, error)
	}{
		{"name", p.readName}, {"sha256", p.readSHA256}, {"sha1", p.readSHA1},
		{"serial", p.readSerialHex}, {"serial", p.readSerialDecimal},
	}
	chosen, rest := "", text
	if prefix, after, ok := strings.Cut(text, ":"); ok {
		switch prefix {
		case "name", "sha256", "sha1", "serial":
			chosen, rest = prefix, after
		}
	}
	var found []Reading
	for _, r := range readings {
		if chosen != "" && chosen != r.as {
			continue
		}
		got, err := r.read(ctx, rest)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Reading{}, err
		}
		if err == nil {
			got.As = r.as
			found = append(found, got)
		}
	}
	for _, other := range found[min(1, len(found)):] {
		if !sameCertificates(found[0], other) {
			return Reading{}, &AmbiguousError{Text: text, Readings: found}
		}
	}
	if len(found) == 0 {
		return Reading{}, notFound(text)
	}
	return found[0], nil
}

func sameCertificates(a, b Reading) bool {
	if len(a.Certificates) != len(b.Certificates) {
		return false
	}
	for i := range a.Certificates {
		if a.Certificates[i].Fingerprint != b.Certificates[i].Fingerprint {
			return false
		}
	}
	return true
}

func (p *PKI) readName(ctx context.Context, text string) (Reading, error) {
	name, err := pki.ParseAnyName(text)
	if err != nil {
		return Reading{}, notFound(text)
	}
	id, err := p.identityNamed(ctx, name)
	if err != nil {
		return Reading{}, err
	}
	certs, err := p.all(ctx, p.db, "c.identity = $1 AND c.kind <> 'probe' ORDER BY c.not_after DESC, c.id DESC", id.id)
	return Reading{Identity: &id, Certificates: certs}, err
}

func (p *PKI) identityNamed(ctx context.Context, name pki.Name) (Identity, error) {
	return identityNamed(ctx, p.db, name)
}

func identityNamed(ctx context.Context, q querier, name pki.Name) (Identity, error) {
	id := Identity{Name: name}
	var at, reason sql.NullInt64
	err := q.QueryRowContext(ctx, `SELECT id, blocked, block_reason FROM identity WHERE name = $1`, name.String()).Scan(&id.id, &at, &reason)
	if errors.Is(err, sql.ErrNoRows) {
		return id, notFound(name.String())
	}
	id.block(at, reason)
	return id, wrap("looking the identity up", err)
}

// block takes over what a row says of the identity's being blocked.
func (id *Identity) block(at, reason sql.NullInt64) {
	if id.Blocked = at.Valid; at.Valid {
		id.BlockedAt, id.BlockReason = fromUnix(at.Int64), pki.Reason(reason.Int64)
	}
}

// namesOf gives the names of identities by their rows, in their order.
func (p *PKI) namesOf(ctx context.Context, ids []int64) ([]pki.Name, error) {
	w := whereIn("id", ids)
	rows, err := p.db.QueryContext(ctx, `SELECT id, name FROM identity WHERE `+w.text(), w.args...)
	if err != nil {
		return nil, wrap("reading the names", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	names := make(map[int64]pki.Name, len(ids))
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, wrap("reading the names", err)
		}
		if names[id], err = pki.ParseAnyName(text); err != nil {
			return nil, errNeedsDigest
		}
	}
	out := make([]pki.Name, 0, len(ids))
	for _, id := range ids {
		out = append(out, names[id])
	}
	return out, wrap("reading the names", rows.Err())
}

func (p *PKI) readSHA256(ctx context.Context, text string) (Reading, error) {
	return p.readHash(ctx, text, 32, "c.sha256 = $1")
}

func (p *PKI) readSHA1(ctx context.Context, text string) (Reading, error) {
	return p.readHash(ctx, text, 20, "c.sha1 = $1")
}

func (p *PKI) readHash(ctx context.Context, text string, size int, where string) (Reading, error) {
	sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(sum) != size {
		return Reading{}, notFound(text)
	}
	return p.reading(ctx, text, where, sum)
}

func (p *PKI) readSerialHex(ctx context.Context, text string) (Reading, error) {
	return p.readSerial(ctx, text, pki.ParseSerialHex)
}

func (p *PKI) readSerialDecimal(ctx context.Context, text string) (Reading, error) {
	return p.readSerial(ctx, text, pki.ParseSerialDecimal)
}

func (p *PKI) readSerial(ctx context.Context, text string, parse func(string) (pki.Serial, error)) (Reading, error) {
	serial, err := parse(text)
	if err != nil {
		return Reading{}, notFound(text)
	}
	return p.reading(ctx, text, "c.issuer IN (SELECT id FROM ca) AND c.serial = $1 ORDER BY c.id", serial.Octets())
}

func (p *PKI) reading(ctx context.Context, text, where string, arg any) (Reading, error) {
	certs, err := p.all(ctx, p.db, where, arg)
	if err == nil && len(certs) == 0 {
		err = notFound(text)
	}
	return Reading{Certificates: certs}, err
}

// Names gives the names of identities that begin with a prefix, at most limit,
// as a shell's completion asks for.
func (p *PKI) Names(ctx context.Context, prefix string, limit int) ([]string, error) {
	rows, err := p.db.QueryContext(ctx, `SELECT name FROM identity WHERE name >= $1 ORDER BY name LIMIT $2`, prefix, limit)
	if err != nil {
		return nil, wrap("reading the names", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, wrap("reading the names", err)
		}
		if !strings.HasPrefix(name, prefix) {
			break
		}
		out = append(out, name)
	}
	return out, wrap("reading the names", rows.Err())
}
