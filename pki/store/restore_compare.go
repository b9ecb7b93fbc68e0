package store

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/crl"
	"mutual/pki/pemfile"
)

// maxCRLFile bounds the file of a CRL: ten million entries are about 500 MB of
// DER.
const maxCRLFile = 512 << 20

// Later is what happened after a backup, as far as something shows it.
type Later struct {
	Sources  []Source
	Issued   []LaterCertificate
	Revoked  []LaterRevocation
	Blocked  []LaterBlock
	Released []LaterCertificate // held in the backup, and still; released later
}

// Source is something that a backup was held against.
type Source struct {
	Path       string
	Issuer     pki.Kind  // of a CRL; empty for a PKI
	Number     *big.Int  // of a CRL
	ThisUpdate time.Time // of a CRL
	Newer      bool      // it knows more than the backup
	Head       Head      // of a PKI
	Epoch      int64     // of a PKI
	Forked     bool      // a PKI whose journal is not that of the backup
	Unreadable int       // rows of a PKI that do not have the content that was written, or that no CA of ours has signed
	Incomplete error     // why not all of it could be read
}

// LaterCertificate is a certificate that a CA of the restored PKI has issued.
type LaterCertificate struct {
	Issuer   pki.Kind
	Serial   pki.Serial
	Kind     pki.Kind
	Name     pki.Name
	Label    string
	NotAfter time.Time
	SHA256   pki.Fingerprint
}

// LaterRevocation is a revocation after the backup.
type LaterRevocation struct {
	Issuer pki.Kind
	Serial pki.Serial
	Name   pki.Name // zero where the serial is not known, too
	Reason pki.Reason
	Date   time.Time
	Known  bool   // the inventory has the certificate
	Signed bool   // a CRL says so
	Taken  bool   // it is in force again: in the inventory or, where that does not know the serial, in the CRL
	Source string // the path
}

// LaterBlock is an identity that was blocked after the backup.
type LaterBlock struct {
	Name   pki.Name
	Reason pki.Reason
	Taken  bool
}

// NeedsPerson reports whether something after the backup is not taken care of.
func (l *Later) NeedsPerson() bool {
	if len(l.Issued)+len(l.Released) > 0 {
		return true
	}
	for _, r := range l.Revoked {
		if !r.Taken || !r.Known {
			return true
		}
	}
	for _, b := range l.Blocked {
		if !b.Taken {
			return true
		}
	}
	for _, s := range l.Sources {
		if s.Forked || s.Unreadable > 0 || s.Incomplete != nil {
			return true
		}
	}
	return false
}

// comparison holds a PKI against what may be newer.
type comparison struct {
	pki   *PKI
	rows  []caRow
	head  Head
	all   bool                  // take over what nobody has signed
	lists map[int64]*newerList  // the newest list of a CA, where it is newer than the backup's
	take  map[int64]Certificate // certificates with the revocation that they get, by row
	seen  map[string]int        // issuer and serial: the place in later.Revoked
	later Later
}

type newerList struct {
	list    *crl.List
	path    string
	unknown int // entries whose serials the inventory lacks
}

// compare holds the restored PKI against everything that the request names and
// against the directory that servers read, where that is there.
func (r *restorer) compare(ctx context.Context) (*comparison, error) {
	rows, err := caRows(ctx, r.pki.db)
	if err != nil {
		return nil, err
	}
	settings, err := r.pki.Settings(ctx)
	if err != nil {
		return nil, err
	}
	c := &comparison{pki: r.pki, rows: rows, head: r.done.Manifest.Head, all: r.req.TakeRevocations,
		lists: map[int64]*newerList{}, take: map[int64]Certificate{}, seen: map[string]int{}}
	var inventories []string
	for _, path := range r.req.Compare {
		inventory, err := c.read(ctx, path)
		if err != nil {
			return nil, err
		}
		if inventory {
			inventories = append(inventories, path)
		}
	}
	if settings.Publish != "" {
		c.readDirectory(ctx, settings.Publish)
	}
	for _, known := range c.lists { // what is signed comes first
		if err := c.compareList(ctx, known); err != nil {
			return nil, err
		}
	}
	for _, path := range inventories {
		if err := c.compareInventory(ctx, path); err != nil {
			return nil, fmt.Errorf("comparing with %s: %w", path, err)
		}
	}
	r.done.Later = c.later
	return c, nil
}

// read reads the lists of a path, and reports whether it is a PKI's.
func (c *comparison) read(ctx context.Context, path string) (inventory bool, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("comparing: %w", err)
	}
	if !st.IsDir() {
		return false, c.readLists(ctx, path)
	}
	_, err = os.Lstat(filepath.Join(path, dbFile))
	inventory = err == nil
	if found := c.readDirectory(ctx, path); !found && !inventory {
		return false, fmt.Errorf("comparing with %s: there is neither a PKI nor a CRL in it", path)
	}
	return inventory, nil
}

// readDirectory reads the lists that a PKI keeps in its directory or publishes,
// as far as they can be read: also those of CAs that came after the backup, for
// the files of the others have had other names since.
func (c *comparison) readDirectory(ctx context.Context, dir string) (found bool) {
	entries, err := os.ReadDir(filepath.Join(dir, crlDir))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !listName.MatchString(e.Name()) {
			continue
		}
		found = true
		path := filepath.Join(dir, crlDir, e.Name())
		if err := c.readLists(ctx, path); err != nil {
			c.incomplete(path, err)
		}
	}
	return found
}

// incomplete notes a file of which not all could be read.
func (c *comparison) incomplete(path string, err error) {
	s := Source{Path: path, Incomplete: err}
	if listName.MatchString(filepath.Base(path)) {
		s.Issuer = roleOfList(path)
	}
	c.later.Sources = append(c.later.Sources, s)
}

// errForeignList is of a list that no CA of the backup has signed: it is
// another PKI's, or of a CA that came later.
var errForeignList = errors.New("the list is not signed by a CA of this PKI")

// readLists reads a file of lists, each of which must be signed by a CA of the
// restored PKI. Of several, one must be: others may be of CAs that came later.
func (c *comparison) readLists(ctx context.Context, path string) error {
	data, err := readRegular(path, maxCRLFile)
	if err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	ders, err := pemfile.CRLs(data)
	if err != nil {
		return fmt.Errorf("comparing with %s: %w", path, err)
	}
	foreign := 0
	for _, der := range ders {
		list, err := crl.Parse(der)
		if err == nil {
			err = c.keepIfNewest(ctx, path, list)
		}
		if errors.Is(err, errForeignList) && len(ders) > 1 {
			foreign++
			continue
		}
		if err != nil {
			return fmt.Errorf("comparing with %s: %w", path, err)
		}
	}
	switch foreign {
	case 0:
	case len(ders):
		return fmt.Errorf("comparing with %s: %w", path, errForeignList)
	default:
		c.incomplete(path, fmt.Errorf("%d of %d lists: %w", foreign, len(ders), errForeignList))
	}
	return nil
}

// keepIfNewest keeps a list that is newer than what is known of its CA. One
// from the future would let the next numbers be smaller.
func (c *comparison) keepIfNewest(ctx context.Context, path string, list *crl.List) error {
	row, ok := c.signerOf(list)
	if !ok {
		return errForeignList
	}
	number := list.Number()
	if number == nil || !number.IsInt64() {
		return errors.New("the list has no number as this PKI gives them")
	}
	if now := c.pki.now(); list.ThisUpdate().After(now) || number.Int64() >= now.UnixNano() {
		return &ClockError{Now: now, Newest: list.ThisUpdate()}
	}
	newest, err := c.newestNumber(ctx, row.id)
	if err != nil {
		return err
	}
	s := Source{Path: path, Issuer: row.role, Number: number, ThisUpdate: list.ThisUpdate(), Newer: number.Cmp(newest) > 0}
	c.later.Sources = append(c.later.Sources, s)
	if known := c.lists[row.id]; s.Newer && (known == nil || number.Cmp(known.list.Number()) > 0) {
		c.lists[row.id] = &newerList{list: list, path: path}
	}
	return nil
}

func (c *comparison) signerOf(list *crl.List) (caRow, bool) {
	for _, row := range c.rows {
		if list.CheckSignature(row.cert) == nil {
			return row, true
		}
	}
	return caRow{}, false
}

func (c *comparison) newestNumber(ctx context.Context, ca int64) (*big.Int, error) {
	var n int64
	err := c.pki.db.QueryRowContext(ctx, `SELECT COALESCE(MAX(number), 0) FROM crl WHERE issuer = $1`, ca).Scan(&n)
	return big.NewInt(n), wrap("reading the CRL numbers", err)
}

// compareList looks what a newer list shows.
func (c *comparison) compareList(ctx context.Context, known *newerList) error {
	row, _ := c.signerOf(known.list)
	ours := map[pki.Serial]pki.Reason{}
	err := c.pki.each(ctx, c.pki.db, "r.reason IS NOT NULL AND c.issuer = $1", []any{row.id}, func(cert Certificate) error {
		ours[cert.Serial] = cert.Revocation.Reason
		if _, listed := known.list.Lookup(cert.Serial); !listed {
			c.releaseIfHeld(row.role, cert)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for e := range known.list.Entries() {
		if reason, ok := ours[e.Serial]; ok && reason == e.Reason {
			continue
		}
		entry := LaterRevocation{Issuer: row.role, Serial: e.Serial, Reason: e.Reason, Date: e.RevocationDate, Signed: true, Taken: true, Source: known.path}
		found, err := c.revoke(ctx, row, entry)
		if err != nil {
			return err
		}
		if !found {
			known.unknown++
		}
	}
	return nil
}

// revoke notes a revocation that the backup lacks and, where it is taken over,
// what it makes of the certificate. It reports whether the inventory knows the
// serial.
func (c *comparison) revoke(ctx context.Context, row caRow, entry LaterRevocation) (found bool, err error) {
	certs, err := c.pki.all(ctx, c.pki.db, "c.issuer = $1 AND c.serial = $2", row.id, entry.Serial.Octets())
	if err != nil {
		return false, err
	}
	if len(certs) > 0 {
		cert := certs[0]
		if taken, ok := c.take[cert.id]; ok {
			cert = taken
		}
		next, changed := authority.Revoke(cert.Revocation, entry.Reason, entry.Date)
		if !changed {
			return true, nil
		}
		if entry.Signed && next.ListedFrom.IsZero() {
			next.ListedFrom = entry.Date
		}
		cert.Revocation = &next
		if !entry.Signed && (cert.Kind.IsCA() || authority.CheckReason(entry.Reason, cert.Kind) != nil) {
			entry.Taken = false // no CA is revoked by what nobody has signed
		}
		if entry.Taken {
			c.take[cert.id] = cert
		}
		entry.Name, entry.Known = cert.Name, true
	} else if !entry.Signed {
		entry.Taken = false // nothing proves that it is ours to list
	}
	c.note(entry)
	return entry.Known, nil
}

// note remembers a revocation once, however many sources show it.
func (c *comparison) note(entry LaterRevocation) {
	key := string(entry.Issuer) + entry.Serial.String()
	at, seen := c.seen[key]
	if !seen {
		c.seen[key] = len(c.later.Revoked)
		c.later.Revoked = append(c.later.Revoked, entry)
		return
	}
	if known := &c.later.Revoked[at]; known.Name.IsZero() {
		known.Name = entry.Name
	}
}

func laterCertificate(issuer pki.Kind, c Certificate) LaterCertificate {
	return LaterCertificate{Issuer: issuer, Serial: c.Serial, Kind: c.Kind, Name: c.Name, Label: c.Label, NotAfter: c.NotAfter, SHA256: c.Fingerprint}
}
