package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
)

// Actor is who does something to a PKI.
type Actor struct {
	User    string `json:"user"`
	Host    string `json:"host"`
	Process int    `json:"process"`
}

// Entry is one line of the journal.
type Entry struct {
	Number  int64           `json:"number"`
	Time    time.Time       `json:"time"`
	Actor   Actor           `json:"actor"`
	Act     string          `json:"act"`
	Subject string          `json:"subject"`
	Details json.RawMessage `json:"details,omitempty"`
}

// Line is an entry with its place in the chain.
type Line struct {
	Entry
	Hash   string `json:"hash"` // SHA-256 of the previous hash and the stored octets
	Signed bool   `json:"signed"`
}

// Head is a place in the journal: a number and the hash there. Whoever keeps
// one elsewhere can tell later whether the journal still has it.
type Head struct {
	Number int64  `json:"number"`
	Hash   string `json:"hash"`
}

// String gives NUMBER:HASH.
func (h Head) String() string { return strconv.FormatInt(h.Number, 10) + ":" + h.Hash }

// ParseHead reads NUMBER:HASH.
func ParseHead(s string) (Head, error) {
	number, hash, ok := strings.Cut(s, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	b, bad := hex.DecodeString(hash)
	if !ok || err != nil || n < 1 || bad != nil || len(b) != sha256.Size {
		return Head{}, fmt.Errorf("%q is no head of a journal: it is written NUMBER:HASH, as log --head prints it", s)
	}
	return Head{Number: n, Hash: strings.ToLower(hash)}, nil
}

// mustSign reports whether the act of a line always signs the head that it
// leaves: it has used the issuing CA's key. The root's CRL is made without.
func (e Entry) mustSign() bool {
	switch e.Act {
	case "init", "issue":
		return true
	case "crl":
		return e.Subject == string(pki.KindIssuing)
	}
	return false
}

// headMessage is what the issuing key signs of a head.
func headMessage(number int64, hash []byte) []byte {
	return fmt.Appendf(nil, "mutual journal head\n%d\n%x\n", number, hash)
}

// chain is the hash of a line: SHA-256(previous hash ‖ stored octets).
func chain(previous, line []byte) []byte {
	h := sha256.New()
	h.Write(previous)
	h.Write(line)
	return h.Sum(nil)
}

// append writes a line and gives its number. Where the transaction has the
// key of an issuing CA, the new head is signed.
func (t *Tx) append(act, subject string, details any) (int64, error) {
	number, previous, err := t.head()
	if err != nil {
		return 0, err
	}
	number++
	e := Entry{Number: number, Time: t.now.Truncate(time.Millisecond), Actor: t.pki.opts.Actor, Act: act, Subject: subject}
	if details != nil {
		if e.Details, err = json.Marshal(details); err != nil {
			return 0, fmt.Errorf("writing the journal: %w", err)
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("writing the journal: %w", err)
	}
	hash := chain(previous, line)
	var signature []byte
	if t.signer != nil {
		if signature, err = t.signer.Sign(headMessage(number, hash)); err != nil {
			return 0, fmt.Errorf("signing the journal: %w", err)
		}
	}
	if err := t.exec("writing the journal", `INSERT INTO journal (number, line, hash, signature) VALUES ($1, $2, $3, $4)`,
		number, line, hash, signature); err != nil {
		return 0, err
	}
	t.newest = Head{number, hex.EncodeToString(hash)}
	return number, t.setCounter("journal", number)
}

func (t *Tx) head() (int64, []byte, error) {
	number, err := t.counter("journal")
	if err != nil || number == 0 {
		return 0, nil, err
	}
	var hash []byte
	err = t.tx.QueryRowContext(t.ctx, `SELECT hash FROM journal WHERE number = $1`, number).Scan(&hash)
	return number, hash, wrap("reading the journal's head", err)
}

// Head returns the newest place in the journal.
func (p *PKI) Head(ctx context.Context) (Head, error) {
	var h Head
	var hash []byte
	err := p.db.QueryRowContext(ctx, `SELECT number, hash FROM journal ORDER BY number DESC LIMIT 1`).Scan(&h.Number, &hash)
	h.Hash = hex.EncodeToString(hash)
	return h, wrap("reading the journal's head", err)
}

// Journal calls each with every line from the given number on, in order.
func (p *PKI) Journal(ctx context.Context, from int64, each func(Line) error) error {
	return scanJournal(ctx, p.db, from, func(number int64, line, hash, signature []byte) error {
		l := Line{Hash: hex.EncodeToString(hash), Signed: signature != nil}
		if err := json.Unmarshal(line, &l.Entry); err != nil {
			return fmt.Errorf("reading line %d of the journal: %w: %v", number, ErrDamaged, err)
		}
		return each(l)
	})
}

func scanJournal(ctx context.Context, q querier, from int64, each func(number int64, line, hash, signature []byte) error) error {
	rows, err := q.QueryContext(ctx, `SELECT number, line, hash, signature FROM journal WHERE number >= $1 ORDER BY number`, from)
	if err != nil {
		return wrap("reading the journal", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	for rows.Next() {
		var number int64
		var line, hash, signature []byte
		if err := rows.Scan(&number, &line, &hash, &signature); err != nil {
			return wrap("reading the journal", err)
		}
		if err := each(number, line, hash, signature); err != nil {
			return err
		}
	}
	return wrap("reading the journal", rows.Err())
}

// ChainError says where the journal does not hold.
type ChainError struct {
	Number int64
	Why    string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("the journal does not hold at line %d: %s", e.Number, e.Why)
}

// VerifyJournal recomputes the chain, checks every signature, and holds the
// journal against the inventory and, where given, against a head that was kept
// elsewhere. It gives the newest head and how many lines are signed; a
// *ChainError says where it does not hold. All of it is read at one moment:
// others may go on writing.
func (p *PKI) VerifyJournal(ctx context.Context, kept *Head) (head Head, signed int, err error) {
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Head{}, 0, wrap("reading the journal", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	head, signed, err = verifyChain(ctx, tx, kept)
	if err != nil {
		return head, signed, err
	}
	return head, signed, checkNumbers(ctx, tx, head.Number)
}

// checkNumbers holds the numbers that are kept beside the rows against them.
func checkNumbers(ctx context.Context, q querier, last int64) error {
	missing, err := missingRevocations(ctx, q)
	if err == nil && missing != 0 {
		return &ChainError{last, fmt.Sprintf("%d revocations that were recorded are not in the database", missing)}
	}
	if err != nil {
		return err
	}
	wrong, err := wrongNumbers(ctx, q)
	if err == nil && wrong != "" {
		return &ChainError{last, wrong}
	}
	return err
}

// verifyChain is VerifyJournal without the numbers that are kept beside the
// rows.
func verifyChain(ctx context.Context, q querier, kept *Head) (head Head, signed int, err error) {
	v := journalVerifier{kept: kept}
	if v.public, err = issuingKeys(ctx, q); err != nil {
		return Head{}, 0, err
	}
	if err := scanJournal(ctx, q, 1, v.line); err != nil {
		return Head{}, 0, err
	}
	head = Head{Number: v.number, Hash: hex.EncodeToString(v.previous)}
	if kept != nil && kept.Number > v.number {
		return head, v.signed, &ChainError{v.number, fmt.Sprintf("it ends here, and the head that was kept is line %d", kept.Number)}
	}
	return head, v.signed, checkJournalEnd(ctx, q, v.number)
}

type journalVerifier struct {
	public   []any
	kept     *Head
	number   int64
	previous []byte
	signed   int
}

func (v *journalVerifier) line(number int64, line, hash, signature []byte) error {
	v.number++
	if number != v.number {
		return &ChainError{v.number, "the line is missing"}
	}
	if want := chain(v.previous, line); !bytes.Equal(want, hash) {
		return &ChainError{number, "its hash is not that of its content and the line before it"}
	}
	v.previous = bytes.Clone(hash)
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil || e.Number != number {
		return &ChainError{number, "it cannot be read"}
	}
	if v.kept != nil && v.kept.Number == number && v.kept.Hash != hex.EncodeToString(hash) {
		return &ChainError{number, "it is not the line whose head was kept"}
	}
	if signature == nil {
		if e.mustSign() {
			return &ChainError{number, "the signature that " + e.Act + " leaves is missing"}
		}
		return nil
	}
	for _, public := range v.public {
		if keys.Verify(public, headMessage(number, hash), signature) == nil {
			v.signed++
			return nil
		}
	}
	return &ChainError{number, "its signature is not the issuing CA's"}
}

// checkJournalEnd looks for what a journal that was cut would no longer have:
// the lines of certificates, CRLs and changes that the database holds.
func checkJournalEnd(ctx context.Context, q querier, last int64) error {
	for _, of := range []struct{ what, query string }{
		{"a certificate", `SELECT COALESCE(MAX(journal), 0) FROM certificate`},
		{"a CRL", `SELECT COALESCE(MAX(journal), 0) FROM crl`},
		{"a change", `SELECT COALESCE(MAX(journal), 0) FROM change`},
		{"the last act", `SELECT value FROM counters WHERE name = 'journal'`},
	} {
		var number int64
		if err := q.QueryRowContext(ctx, of.query).Scan(&number); err != nil {
			return wrap("checking the end of the journal", err)
		}
		if number > last {
			return &ChainError{last, fmt.Sprintf("it ends here, but %s was recorded at line %d", of.what, number)}
		}
	}
	return nil
}

var _ authority.Ledger = (*Tx)(nil)

var errNoIssuing = errors.New("the database holds no issuing CA")

// subjectOf is how the journal names a certificate's owner.
func subjectOf(name pki.Name, kind pki.Kind) string {
	if name.IsZero() {
		return string(kind)
	}
	return name.String()
}

// issuingKeys gives the public keys of all issuing CAs that this PKI ever had:
// each may have signed heads.
func issuingKeys(ctx context.Context, q querier) ([]any, error) {
	rows, err := q.QueryContext(ctx, `SELECT c.der, c.sha256 FROM certificate c JOIN ca ON ca.id = c.subject_ca
		WHERE ca.role = 'issuing' AND c.kind = 'issuing' AND c.replaced_by IS NULL ORDER BY ca.id DESC`)
	if err != nil {
		return nil, wrap("reading the CAs", err)
	}
	defer func() { _ = rows.Close() }() // Err below reports what matters
	var out []any
	for rows.Next() {
		var der, sum []byte
		if err := rows.Scan(&der, &sum); err != nil {
			return nil, wrap("reading the CAs", err)
		}
		cert, err := parseStored(der, sum)
		if err != nil {
			return nil, err
		}
		out = append(out, cert.PublicKey)
	}
	if err := rows.Err(); err != nil {
		return nil, wrap("reading the CAs", err)
	}
	if len(out) == 0 {
		return nil, errNoIssuing
	}
	return out, nil
}
