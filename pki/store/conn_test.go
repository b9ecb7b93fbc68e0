package store

import (
	"context"
	"errors"
	"testing"
)

// Nobody waits for the end of a context, and it is seen all the same: before a
// statement, a transaction and each row.
func TestContextEnds(t *testing.T) {
	f := newFixture(t)
	numbers := `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n`
	ctx, cancel := context.WithCancel(t.Context())
	rows, err := f.db.QueryContext(ctx, numbers)
	f.must(err)
	defer func() { _ = rows.Close() }() // Err below reports what matters
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	tx, end, err := f.readOnly(ctx)
	f.must(err)
	defer end()
	cancel()
	if rows.Next() || !errors.Is(rows.Err(), context.Canceled) {
		t.Errorf("the next row: %v", rows.Err())
	}
	var n int
	for what, err := range map[string]error{
		"a query":           f.db.QueryRowContext(ctx, numbers).Scan(&n),
		"in a transaction":  tx.tx.QueryRowContext(tx.ctx, numbers).Scan(&n),
		"a transaction":     func() error { _, _, err := f.readOnly(ctx); return err }(),
		"a check":           f.checkIntegrity(ctx),
		"an act":            f.update(ctx, nil, func(*Tx) error { t.Error("it begins"); return nil }),
		"a statement's act": f.update(t.Context(), nil, func(u *Tx) error { u.ctx = unwatched{ctx}; return u.setCounter("clock", 1) }),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
