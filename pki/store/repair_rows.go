package store

import (
	"context"
	"crypto/sha1" // #nosec: only to hold the column against the certificate
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"

	"mutual/pki"
)

// structure has SQLite check its own structures, and that no row refers to one
// that is not there.
func (a *audit) structure(ctx context.Context) error {
	err := a.eachRow(ctx, "checking the database", "PRAGMA integrity_check(100)", func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil || text == "ok" {
			return err
		}
		return a.damage(AreaDatabase, a.pki.Path(dbFile), "%s", text)
	})
	if err != nil {
		return err
	}
	return a.eachRow(ctx, "checking the database", "PRAGMA foreign_key_check", func(rows *sql.Rows) error {
		var table, parent string
		var row, key sql.NullInt64
		if err := rows.Scan(&table, &row, &parent, &key); err != nil {
			return err
		}
		return a.damage(AreaDatabase, fmt.Sprintf("%s, row %d", table, row.Int64), "it refers to a row of %s that is not there", parent)
	})
}

// eachRow runs a query and calls do for each row.
func (a *audit) eachRow(ctx context.Context, doing, query string, do func(*sql.Rows) error, args ...any) error {
	rows, err := a.q.QueryContext(ctx, query, args...)
	if err != nil {
		return wrap(doing, err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return wrap(doing, rows.Err())
}

// rows holds every certificate's and every revocation's row against its digest.
func (a *audit) rows(ctx context.Context) error {
	return a.eachRow(ctx, "reading the inventory", certificateQuery+"1 = 1 ORDER BY c.id", func(rows *sql.Rows) error {
		c, err := scanCertificate(rows)
		if errors.Is(err, errNeedsDigest) {
			return a.damage(AreaInventory, describeRow(c.id, c.Serial), "the row of the certificate or of its revocation does not have the content that was written")
		}
		return err
	})
}

func describeRow(id int64, serial pki.Serial) string {
	if serial.IsZero() {
		return fmt.Sprintf("certificate, row %d", id)
	}
	return "serial " + serial.String()
}

// stored holds every certificate against its fingerprints, and its row against
// what is in it.
func (a *audit) stored(ctx context.Context) error {
	return a.eachRow(ctx, "reading the certificates", `SELECT id, serial, not_before, not_after, kind, sha256, sha1, der FROM certificate ORDER BY id`,
		func(rows *sql.Rows) error {
			var id, notBefore, notAfter int64
			var kind string
			var serial, sum, oldSum, der sql.RawBytes
			if err := rows.Scan(&id, &serial, &notBefore, &notAfter, &kind, &sum, &oldSum, &der); err != nil {
				return err
			}
			known, _ := pki.SerialFromOctets(serial) // zero where that is damaged
			who := describeRow(id, known)
			f, old := pki.FingerprintOf(der), sha1.Sum(der)
			if sum == nil {
				return a.damage(AreaInventory, who, "the serial is reserved, and the certificate is missing")
			}
			if string(f[:]) != string(sum) || string(old[:]) != string(oldSum) {
				return a.damage(AreaInventory, who, "the certificate is not the one that was stored")
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return a.damage(AreaInventory, who, "the certificate cannot be read: %v", err)
			}
			if pki.NewSerial(cert.SerialNumber) != known || cert.NotBefore.Unix() != notBefore || cert.NotAfter.Unix() != notAfter ||
				cert.IsCA != pki.Kind(kind).IsCA() {
				return a.damage(AreaInventory, who, "the row is not of the certificate in it")
			}
			return nil
		})
}

// identities holds the spelling by which names are compared against the names.
func (a *audit) identities(ctx context.Context) error {
	return a.eachRow(ctx, "reading the names", `SELECT id, name, folded FROM identity ORDER BY id`, func(rows *sql.Rows) error {
		var id int64
		var text, folded string
		if err := rows.Scan(&id, &text, &folded); err != nil {
			return err
		}
		name, err := pki.ParseAnyName(text)
		if err != nil {
			return a.damage(AreaInventory, fmt.Sprintf("identity, row %d", id), "the name cannot be one: %v", err)
		}
		if name.Folded() == folded {
			return nil
		}
		a.mends = append(a.mends, func(t *Tx) error {
			return t.exec("mending the name", `UPDATE identity SET folded = $1 WHERE id = $2`, name.Folded(), id)
		})
		return a.say(AreaKept, RemedyRepair, text, "the spelling by which the name is compared is not that of the name")
	})
}

// journal checks the chain, its signatures and its end.
func (a *audit) journal(ctx context.Context) error {
	_, _, err := verifyChain(ctx, a.q, nil)
	if broken, ok := errors.AsType[*ChainError](err); ok {
		return a.damage(AreaJournal, fmt.Sprintf("line %d", broken.Number), "%v", broken)
	}
	if errors.Is(err, errNoIssuing) {
		return a.damage(AreaInventory, "ca", "%v", err)
	}
	return err
}
