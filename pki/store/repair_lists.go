package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
)

// listRow is a row of crl.
type listRow struct {
	issuer                         int64
	role                           string
	keyID                          []byte
	number, thisUpdate, nextUpdate int64
	entries                        int
	epoch, journal                 int64
	signature, sum, der            []byte
}

func (l *listRow) String() string {
	return fmt.Sprintf("%s, number %d", byKey(pki.Kind(l.role), l.keyID), l.number)
}

// listRows holds every list's row against the journal's line about it and,
// where the database has the list itself, against that.
func (a *audit) listRows(ctx context.Context) error {
	epoch, err := a.number(ctx, `SELECT COALESCE(MAX(epoch), 0) FROM change`)
	if err != nil {
		return err
	}
	return a.eachRow(ctx, "reading the CRLs", `SELECT l.issuer, ca.role, ca.key_id, l.number, l.this_update, l.next_update, l.entries, l.epoch,
		l.journal, l.signature, l.sha256, l.der, j.line
		FROM crl l JOIN ca ON ca.id = l.issuer LEFT JOIN journal j ON j.number = l.journal ORDER BY l.issuer, l.number`, func(rows *sql.Rows) error {
		var l listRow
		var line []byte
		if err := rows.Scan(&l.issuer, &l.role, &l.keyID, &l.number, &l.thisUpdate, &l.nextUpdate, &l.entries, &l.epoch,
			&l.journal, &l.signature, &l.sum, &l.der, &line); err != nil {
			return err
		}
		switch {
		case l.epoch > epoch:
			return a.damage(AreaCRL, l.String(), "it covers epoch %d, and there are %d", l.epoch, epoch)
		case !l.isJournaled(line):
			return a.damage(AreaCRL, l.String(), "the row is not what line %d of the journal says", l.journal)
		case l.der != nil && !l.isOf(l.der):
			return a.damage(AreaCRL, l.String(), "the row is not of the list in it")
		}
		return nil
	})
}

// isJournaled reports whether the row is what its line in the journal says. A
// restore takes over lists that others have made, and does not describe them.
func (l *listRow) isJournaled(line []byte) bool {
	var e Entry
	var said struct {
		Number     string    `json:"number"`
		ThisUpdate time.Time `json:"thisUpdate"`
		NextUpdate time.Time `json:"nextUpdate"`
		Entries    int       `json:"entries"`
		SHA256     string    `json:"sha256"`
	}
	if json.Unmarshal(line, &e) != nil {
		return false
	}
	if e.Act != "crl" {
		return true
	}
	return json.Unmarshal(e.Details, &said) == nil && said.Number == strconv.FormatInt(l.number, 10) && e.Subject == l.role &&
		said.ThisUpdate.Unix() == l.thisUpdate && said.NextUpdate.Unix() == l.nextUpdate && said.Entries == l.entries &&
		said.SHA256 == fmt.Sprintf("%x", l.sum)
}

// isOf reports whether the row describes the list.
func (l *listRow) isOf(der []byte) bool {
	list, err := crl.Parse(der)
	sum := sha256.Sum256(der)
	return err == nil && bytes.Equal(sum[:], l.sum) && bytes.Equal(list.Signature(), l.signature) &&
		list.Number() != nil && list.Number().IsInt64() && list.Number().Int64() == l.number && list.Len() == l.entries &&
		list.ThisUpdate().Unix() == l.thisUpdate && list.NextUpdate().Unix() == l.nextUpdate
}

// contents holds the newest list of a CA against the revocations that it
// covers. What it lacks somebody is let in by.
func (a *audit) contents(ctx context.Context, l *Published, der []byte, ca caRow) error {
	list, err := crl.Parse(der)
	if err == nil {
		err = list.CheckSignature(ca.cert)
	}
	if err != nil {
		return a.damage(AreaCRL, l.Files[0], "%v", err)
	}
	lacking := 0
	err = a.eachRow(ctx, "reading the revocations", `SELECT c.serial, r.reason FROM revocation r JOIN certificate c ON c.id = r.certificate
		WHERE c.issuer = $1 AND r.epoch <= $2 AND c.not_after >= $3`, func(rows *sql.Rows) error {
		var octets sql.RawBytes
		var reason int64
		if err := rows.Scan(&octets, &reason); err != nil {
			return err
		}
		serial, err := pki.SerialFromOctets(octets)
		if err != nil {
			return errNeedsDigest
		}
		if e, ok := list.Lookup(serial); !ok || e.Reason != pki.Reason(reason) {
			lacking++
		}
		return nil
	}, l.ca, l.epoch, l.ThisUpdate.Unix())
	if err != nil || lacking == 0 {
		return err
	}
	a.files, a.sign = true, true
	return a.say(AreaCRL, RemedyRepair, l.Files[0], "it does not say what the database says of %d revocations", lacking)
}

// signable says what helps a list that must be made again: repair, where its
// CA's key is at hand.
func (a *audit) signable(ctx context.Context, l *Published, ca caRow) Remedy {
	if a.tx != nil {
		if _, err := a.pki.listSigner(ctx, l, publishRequest{}); err != nil {
			return RemedySign
		}
		return RemedyRepair
	}
	if a.pki.keyHere(ca) == "" || ca.cert.NotAfter.Before(a.pki.now()) {
		return RemedySign
	}
	return RemedyRepair
}
