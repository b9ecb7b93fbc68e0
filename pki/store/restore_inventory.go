package store

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"

	"mutual/pki"
)

// compareDir is where a database that is compared with is copied to, inside the
// directory in which the PKI is made.
const compareDir = ".compare"

// inventory is the database of another PKI of the same CAs. Nothing in it is
// trusted: it is copied before it is opened, a certificate counts if a CA of
// ours has signed it, and a revocation is told from one in a CRL.
type inventory struct {
	c      *comparison
	old    *PKI
	source Source
	issuer map[string]caRow // our CAs and those that they vouch for, by key identifier
}

func (c *comparison) compareInventory(ctx context.Context, dir string) error {
	private := c.pki.Path(compareDir)
	if err := os.Mkdir(private, 0o700); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(private) }() // it goes with the rest if it does not go now
	for _, name := range []string{dbFile, dbFile + "-wal"} {
		if err := copyRegular(filepath.Join(dir, name), filepath.Join(private, name)); err != nil &&
			!(name != dbFile && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	old, err := open(private, c.pki.opts)
	if err != nil {
		return err
	}
	defer func() { _ = old.db.Close() }() // a copy that nobody needs any more
	i := inventory{c: c, old: old, source: Source{Path: dir}, issuer: map[string]caRow{}}
	for _, row := range c.rows {
		i.issuer[string(row.cert.SubjectKeyId)] = row
	}
	err = i.compare(ctx)
	_, unreadable := errors.AsType[*sqlite.Error](err)
	switch {
	case err == nil:
	case ctx.Err() == nil && (unreadable || errors.Is(err, ErrDamaged)):
		i.source.Incomplete = err
	default:
		return err
	}
	c.later.Sources = append(c.later.Sources, i.source)
	return nil
}

// copyRegular copies a regular file of a bounded size.
func copyRegular(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() > maxDatabase {
		return fmt.Errorf("%s is no regular file of at most %d octets", from, int64(maxDatabase))
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, maxDatabase))
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}

func (i *inventory) compare(ctx context.Context) error {
	if _, err := i.old.db.ExecContext(ctx, "PRAGMA trusted_schema = 0"); err != nil {
		return wrap("reading the database", err)
	}
	if err := i.old.checkSchema(ctx); err != nil {
		return err
	}
	if err := i.checkSame(ctx); err != nil {
		return err
	}
	if err := i.relate(ctx); err != nil {
		return err
	}
	if s := i.source; !s.Newer && !s.Forked { // the backup knows all of it, and what was undone since
		return nil
	}
	if err := i.laterCAs(ctx); err != nil {
		return err
	}
	if err := i.certificates(ctx); err != nil {
		return err
	}
	return i.blocked(ctx)
}

// checkSame refuses a PKI that has no CA in common with the restored one.
func (i *inventory) checkSame(ctx context.Context) error {
	rows, err := i.old.db.QueryContext(ctx, `SELECT key_id FROM ca`)
	if err != nil {
		return wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	same := false
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return wrap("reading the CAs", err)
		}
		_, ours := i.issuer[string(id)]
		same = same || ours
	}
	if err := rows.Err(); err != nil {
		return wrap("reading the CAs", err)
	}
	if !same {
		return errors.New("it is another PKI: it has none of the CAs of the backup")
	}
	return nil
}

// laterCAs finds the CAs that came after the backup: a CA of ours has signed
// their certificate, or one that is found so. What they have issued is missed,
// too. They have no row here, and nothing of theirs can be taken over.
func (i *inventory) laterCAs(ctx context.Context) error {
	rows, err := i.old.db.QueryContext(ctx, `SELECT kind, der FROM certificate WHERE subject_ca IS NOT NULL ORDER BY id`)
	if err != nil {
		return wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var certs []caRow
	for rows.Next() {
		var kind string
		var der []byte
		if err := rows.Scan(&kind, &der); err != nil {
			return wrap("reading the CAs", err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			continue // its row is counted with the others
		}
		role := pki.KindRoot // a cross certificate is a root's
		if kind == string(pki.KindIssuing) {
			role = pki.KindIssuing
		}
		certs = append(certs, caRow{role: role, cert: cert})
	}
	for found := true; found; {
		found = false
		for _, r := range certs {
			above, ours := i.issuer[string(r.cert.AuthorityKeyId)]
			_, known := i.issuer[string(r.cert.SubjectKeyId)]
			if ours && !known && r.cert.CheckSignatureFrom(above.cert) == nil {
				i.issuer[string(r.cert.SubjectKeyId)] = r
				found = true
			}
		}
	}
	return wrap("reading the CAs", rows.Err())
}

// relate says whether the other journal goes on where the backup's ends.
func (i *inventory) relate(ctx context.Context) (err error) {
	s := &i.source
	if s.Head, err = i.old.Head(ctx); err != nil {
		return err
	}
	if err := i.old.db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'epoch'`).Scan(&s.Epoch); err != nil {
		return wrap("reading the epoch", err)
	}
	ours, theirs := i.c.head, s.Head
	s.Newer = theirs.Number > ours.Number
	if s.Newer {
		theirs.Hash, err = hashAt(ctx, i.old.db, ours.Number)
	} else {
		ours.Hash, err = hashAt(ctx, i.c.pki.db, theirs.Number)
	}
	s.Forked = theirs.Hash != ours.Hash
	return err
}

func hashAt(ctx context.Context, q querier, number int64) (string, error) {
	var hash []byte
	err := q.QueryRowContext(ctx, `SELECT hash FROM journal WHERE number = $1`, number).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return hex.EncodeToString(hash), wrap("reading the journal", err)
}

// certificates goes through the other inventory. A row that is damaged is
// counted, and the others still tell what they know.
func (i *inventory) certificates(ctx context.Context) error {
	rows, err := i.old.db.QueryContext(ctx, certificateQuery+"1 = 1 ORDER BY c.id")
	if err != nil {
		return wrap("reading the inventory", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		cert, err := scanCertificate(rows)
		if errors.Is(err, errNeedsDigest) {
			i.source.Unreadable++
			continue
		}
		if err != nil {
			return err
		}
		if err := i.certificate(ctx, cert); err != nil {
			return err
		}
	}
	return wrap("reading the inventory", rows.Err())
}

func (i *inventory) certificate(ctx context.Context, theirs Certificate) error {
	row, ok := i.issuer[string(theirs.IssuerKeyID)]
	if !ok {
		i.source.Unreadable++
		return nil
	}
	ours, err := i.c.pki.all(ctx, i.c.pki.db, "c.issuer = $1 AND c.serial = $2", row.id, theirs.Serial.Octets())
	if err != nil {
		return err
	}
	switch {
	case len(ours) > 0 && theirs.Revocation == nil:
		i.c.releaseIfHeld(row.role, ours[0])
		return nil
	case len(ours) > 0:
		return i.revoked(ctx, row, theirs, ours[0].Issued)
	case !theirs.NotAfter.After(i.c.pki.now()): // nobody can use it any more
		return nil
	case !i.isGenuine(ctx, row, theirs):
		i.source.Unreadable++
		return nil
	}
	i.c.later.Issued = append(i.c.later.Issued, laterCertificate(row.role, theirs))
	if theirs.Revocation == nil {
		return nil
	}
	return i.revoked(ctx, row, theirs, theirs.Issued)
}

// revoked notes what nobody has signed. A date that cannot be is not taken
// over.
func (i *inventory) revoked(ctx context.Context, row caRow, theirs Certificate, issued time.Time) error {
	r := *theirs.Revocation
	if now := i.c.pki.now(); r.Done.After(now) || r.Done.Before(issued) {
		r.Done = now.Truncate(time.Second)
	}
	_, err := i.c.revoke(ctx, row, LaterRevocation{Issuer: row.role, Serial: theirs.Serial, Name: theirs.Name, Reason: r.Reason, Date: r.Done,
		Taken: i.c.all, Source: i.source.Path})
	return err
}

// isGenuine reports whether a CA of ours has signed the certificate that a row
// is about.
func (i *inventory) isGenuine(ctx context.Context, row caRow, c Certificate) bool {
	der, err := i.old.DER(ctx, c.Fingerprint)
	if err != nil {
		return false
	}
	cert, err := x509.ParseCertificate(der)
	return err == nil && cert.CheckSignatureFrom(row.cert) == nil && pki.NewSerial(cert.SerialNumber) == c.Serial
}

// blocked looks which identities were blocked later.
func (i *inventory) blocked(ctx context.Context) error {
	rows, err := i.old.db.QueryContext(ctx, `SELECT name, block_reason FROM identity WHERE blocked IS NOT NULL ORDER BY name`)
	if err != nil {
		return wrap("reading the names", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		var text string
		var reason sql.NullInt64
		if err := rows.Scan(&text, &reason); err != nil {
			return wrap("reading the names", err)
		}
		name, err := pki.ParseAnyName(text)
		if err != nil || !pki.Reason(reason.Int64).Valid() {
			i.source.Unreadable++
			continue
		}
		ours, err := i.c.pki.identityNamed(ctx, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err != nil || !ours.Blocked {
			i.c.block(LaterBlock{Name: name, Reason: pki.Reason(reason.Int64), Taken: i.c.all && err == nil})
		}
	}
	return wrap("reading the names", rows.Err())
}

// block notes an identity once.
func (c *comparison) block(b LaterBlock) {
	for _, known := range c.later.Blocked {
		if known.Name == b.Name {
			return
		}
	}
	c.later.Blocked = append(c.later.Blocked, b)
}

// releaseIfHeld notes, once, a certificate that is held in the backup and was
// released later.
func (c *comparison) releaseIfHeld(issuer pki.Kind, cert Certificate) {
	if now := c.pki.now(); cert.State(now) != Held || !cert.NotAfter.After(now) {
		return
	}
	for _, known := range c.later.Released {
		if known.SHA256 == cert.Fingerprint {
			return
		}
	}
	c.later.Released = append(c.later.Released, laterCertificate(issuer, cert))
}
