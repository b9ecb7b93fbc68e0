package store

import (
	"context"
	"crypto/sha1" // #nosec: only to find a certificate by a SHA-1 fingerprint that somebody has
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/pemfile"
	"mutual/pki/profile"
)

// adopter takes certificates that were found into the inventory. Nothing is
// believed of a file but what a CA of the PKI has signed: the kind is that of
// the extended key usage, the identity that of the names in it, the state that
// of the newest list. What nobody has signed, such as a label, is lost.
type adopter struct {
	cas     []caRow
	lists   map[int64]*crl.List // the newest list of a CA, and what it goes on listing
	carried map[int64]*crl.List
	epoch   int64 // of this repair; 0: nothing that was revoked was found
	issuers []int64
	added   []int64 // rows, whose line in the journal is not written yet
	seen    map[pki.Fingerprint]bool
}

// searched looks through the directories of the request.
func (a *audit) searched(ctx context.Context) error {
	if len(a.req.From) == 0 {
		return nil
	}
	err := a.prepare(ctx)
	if errors.Is(err, ErrDamaged) {
		return a.tolerate(err)
	}
	if err != nil {
		return err
	}
	for _, dir := range a.req.From {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() { // opening a pipe would wait for its writer
			return fmt.Errorf("searching %s: it is no directory", dir)
		}
		if err := a.search(ctx, dir); err != nil {
			return fmt.Errorf("searching %s: %w", dir, err)
		}
	}
	return nil
}

func (a *audit) prepare(ctx context.Context) error {
	a.adopt.lists, a.adopt.carried, a.adopt.seen = map[int64]*crl.List{}, map[int64]*crl.List{}, map[pki.Fingerprint]bool{}
	cas, err := caRows(ctx, a.pki.db)
	if err != nil {
		return err
	}
	a.adopt.cas = cas
	lists, err := a.pki.CRLs(ctx)
	if err != nil {
		return err
	}
	for i := range lists {
		der := lists[i].bytes()
		if der == nil {
			continue
		}
		if a.adopt.lists[lists[i].ca], err = crl.Parse(der); err != nil {
			return fmt.Errorf("%w: reading the newest CRL: %v", ErrDamaged, err)
		}
		if der, err = adoptedList(ctx, a.q, lists[i].ca); err != nil || der == nil {
			continue
		}
		if a.adopt.carried[lists[i].ca], err = crl.Parse(der); err != nil {
			return fmt.Errorf("%w: reading the list that was adopted: %v", ErrDamaged, err)
		}
	}
	return err
}

// search goes through a directory and those below it, and follows no link. One
// below that cannot be opened is told of, and the others are searched.
func (a *audit) search(ctx context.Context, top string) error {
	for dirs := []string{top}; len(dirs) > 0; {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		d, err := os.Open(dir)
		if err != nil && dir == top {
			return err
		}
		if err != nil {
			err = a.say(AreaFound, RemedyRestore, dir, "it cannot be read: %v", err)
		} else {
			dirs, err = a.searchOne(ctx, d, dirs)
			_ = d.Close() // only read
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// searchOne looks at the files of a directory, a few names at a time, and adds
// the directories in it to dirs.
func (a *audit) searchOne(ctx context.Context, d *os.File, dirs []string) ([]string, error) {
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			path := filepath.Join(d.Name(), e.Name())
			switch {
			case e.IsDir():
				dirs = append(dirs, path)
			case e.Type().IsRegular() && slices.Contains([]string{".crt", ".pem", ".der"}, filepath.Ext(path)):
				if err := a.file(ctx, path); err != nil {
					return nil, err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return dirs, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// file looks at the certificates of a file: the first is somebody's, and those
// of its chain are CAs', or known.
func (a *audit) file(ctx context.Context, path string) error {
	data, err := pemfile.ReadFile(path, pemfile.MaxFile)
	if err != nil && (errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist)) {
		return a.say(AreaFound, RemedyRestore, path, "it cannot be read: %v", err)
	}
	certs, bad := pemfile.Certificates(data)
	if err != nil || bad != nil {
		a.done.Ignored++
		return nil
	}
	ours := false
	for _, cert := range certs {
		mine, err := a.certificate(ctx, path, cert)
		if err != nil {
			return err
		}
		ours = ours || mine
	}
	if !ours {
		a.done.Ignored++
	}
	return nil
}

// certificate looks at one certificate, and reports whether a CA of the PKI is
// named as its issuer.
func (a *audit) certificate(ctx context.Context, path string, cert *x509.Certificate) (ours bool, err error) {
	i := slices.IndexFunc(a.adopt.cas, func(r caRow) bool {
		return string(r.cert.RawSubject) == string(cert.RawIssuer)
	})
	if i < 0 {
		return false, nil
	}
	ca := a.adopt.cas[i]
	f := pki.FingerprintOf(cert.Raw)
	n, err := a.number(ctx, `SELECT COUNT(*) FROM certificate WHERE sha256 = $1`, f[:])
	if err != nil || n > 0 || a.adopt.seen[f] {
		return true, err
	}
	c, r, why := a.read(ctx, ca, cert)
	if why != nil {
		if isFatal(why) {
			return true, why
		}
		return true, a.say(AreaFound, RemedyRestore, path, "%v", why)
	}
	state := "valid"
	if r != nil {
		state, a.files = "revoked, "+r.Reason.String(), true // the next list has it of the row
	}
	if err := a.say(AreaFound, RemedyRepair, path, "%s %q, serial %s, is not in the inventory: %s", c.Kind, c.Name, c.Serial, state); err != nil {
		return true, err
	}
	if a.tx == nil || a.damaged {
		a.adopt.seen[f] = true
		return true, nil
	}
	return true, a.adopt.take(a.tx, ca, c, r, cert.Raw)
}

// read tells what the inventory would say of a certificate, or why it cannot be
// taken into it.
func (a *audit) read(ctx context.Context, ca caRow, cert *x509.Certificate) (authority.Record, *authority.Revocation, error) {
	c := authority.Record{IssuerKeyID: ca.keyID, Serial: pki.NewSerial(cert.SerialNumber),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(), Issued: cert.NotBefore.UTC()}
	if cert.CheckSignatureFrom(ca.cert) != nil {
		return c, nil, fmt.Errorf("it names the %s as its issuer, which has not signed it: it is not believed", ca)
	}
	if cert.IsCA {
		return c, nil, errors.New("it is a CA's certificate: only a backup has its key")
	}
	var err error
	if c.Kind, c.Name, err = profile.Identity(cert); err != nil {
		return c, nil, err
	}
	known, err := isKnown(ctx, a.q, ca.id, c.Serial)
	if err != nil {
		return c, nil, err
	}
	if known {
		return c, nil, fmt.Errorf("the inventory has another certificate with the serial %s", c.Serial)
	}
	if _, err := mayHave(ctx, a.q, c.Name); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrBlocked) {
		return c, nil, err
	}
	list := a.adopt.lists[ca.id]
	if list == nil {
		return c, nil, fmt.Errorf("the newest CRL of the %s is not at hand, and would say whether it is revoked: run mutual crl refresh first", ca)
	}
	for _, l := range []*crl.List{list, a.adopt.carried[ca.id]} {
		if l == nil {
			continue
		}
		if e, ok := l.Lookup(c.Serial); ok {
			return c, &authority.Revocation{Reason: e.Reason, Done: e.RevocationDate, ListedFrom: e.RevocationDate}, nil
		}
	}
	who, err := identityNamed(ctx, a.q, c.Name)
	if who.Blocked { // it would have been revoked with the others
		return c, &authority.Revocation{Reason: who.BlockReason, Done: a.pki.now().Truncate(time.Second)}, nil
	}
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return c, nil, err
}

// take writes the row of a certificate that was found, and its revocation.
func (d *adopter) take(t *Tx, ca caRow, c authority.Record, r *authority.Revocation, der []byte) error {
	f := pki.FingerprintOf(der)
	identity, err := t.identity(c.Name)
	if errors.Is(err, ErrBlocked) {
		err = t.tx.QueryRowContext(t.ctx, `SELECT id FROM identity WHERE name = $1`, c.Name.String()).Scan(&identity)
	}
	if err != nil {
		return err
	}
	old := sha1.Sum(der)
	var id int64
	if err := t.tx.QueryRowContext(t.ctx, `INSERT INTO certificate
		(issuer, serial, identity, kind, label, not_before, not_after, issued, backdated, sha256, sha1, der, digest)
		VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
		ca.id, c.Serial.Octets(), identity, string(c.Kind), c.NotBefore.Unix(), c.NotAfter.Unix(), c.Issued.Unix(), c.Backdated,
		f[:], old[:], der, recordDigest(c, f)).Scan(&id); err != nil {
		return wrap("recording the certificate", err)
	}
	d.added = append(d.added, id)
	t.count(Certificate{Record: c, id: id, issuer: ca.id}, +1)
	if r == nil {
		return nil
	}
	if d.epoch == 0 { // the act's, which is counted at its end
		if d.epoch, err = t.counter("epoch"); err != nil {
			return err
		}
		d.epoch++
	}
	if !slices.Contains(d.issuers, ca.id) {
		d.issuers = append(d.issuers, ca.id)
	}
	return t.putRevocation(Certificate{Record: c, Fingerprint: f, Revocation: r, id: id, issuer: ca.id, epoch: d.epoch})
}

// finish counts the act, and what is kept beside the rows.
func (d *adopter) finish(t *Tx, journal int64) error {
	if len(d.added) == 0 {
		return nil
	}
	for _, id := range d.added {
		if err := t.exec("recording the certificate", `UPDATE certificate SET journal = $1 WHERE id = $2`, journal, id); err != nil {
			return err
		}
	}
	if d.epoch > 0 {
		_, err := t.nextEpoch("repair", journal, d.issuers...)
		return err
	}
	return nil
}
