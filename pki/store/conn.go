package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"

	"modernc.org/sqlite"
)

// database is asked with contexts that database/sql does not watch, outside of
// transactions.
type database struct{ *sql.DB }

// openDB opens the database of a data source name of SQLite's driver.
func openDB(dsn string) (database, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return database{}, err
	}
	return database{sql.OpenDB(connector{c})}, nil
}

// QueryContext is that of sql.DB.
func (d database) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return d.DB.QueryContext(unwatched{ctx}, query, args...)
}

// QueryRowContext is that of sql.DB.
func (d database) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return d.DB.QueryRowContext(unwatched{ctx}, query, args...)
}

// BeginTx is that of sql.DB.
func (d database) BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	return d.DB.BeginTx(unwatched{ctx}, opts)
}

// unwatched is a context of which database/sql, or the driver, does not wait for
// the end: either takes a goroutine for it at each statement, which costs more
// than most statements do. conn looks at it before each statement and each row.
// A context that is derived of it would never end: nothing may be.
type unwatched struct{ context.Context }

// Done implements context.Context.
func (unwatched) Done() <-chan struct{} { return nil }

// watched gives back the context, for what may take long before it has a row.
func watched(ctx context.Context) context.Context {
	if u, ok := ctx.(unwatched); ok {
		return u.Context
	}
	return ctx
}

// connector opens connections that prepare each statement once. One command
// asks the same several times, and to prepare takes longer than to look a row up.
//
// A statement is not told of a context that ends while it runs, nor is a transaction
// that waits to begin: writers queue before. What may take long goes through its rows
// one by one, or is a PRAGMA that checks everything, which is told.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{sqliteConn: inner.(sqliteConn), idle: map[string]driver.Stmt{}}, nil
}

// sqliteConn is what database/sql uses of a connection of SQLite's driver.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// conn is a connection that keeps its statements.
type conn struct {
	sqliteConn
	idle map[string]driver.Stmt // by their text; one that runs is not here
}

// maxIdle bounds how many are kept: those of a filter are of many kinds. The first
// stay, and the others are prepared each time.
const maxIdle = 64

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.HasPrefix(query, "PRAGMA") {
		return c.sqliteConn.QueryContext(watched(ctx), query, args)
	}
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	inner, err := stmt.(driver.StmtQueryContext).QueryContext(unwatched{ctx}, args)
	if err != nil {
		_ = stmt.Close() // the first error is the one to report
		return nil, err
	}
	return &rows{Rows: inner, ctx: ctx, done: func() error { return c.keep(query, stmt) }}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := stmt.(driver.StmtExecContext).ExecContext(unwatched{ctx}, args)
	if err != nil {
		_ = stmt.Close() // as above
		return nil, err
	}
	return result, c.keep(query, stmt)
}

// take gives an idle statement, or prepares one: a query that is asked again
// while its rows are read has two.
func (c *conn) take(ctx context.Context, query string) (driver.Stmt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if stmt, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return stmt, nil
	}
	return c.PrepareContext(ctx, query)
}

func (c *conn) keep(query string, stmt driver.Stmt) error {
	if _, ok := c.idle[query]; ok || len(c.idle) == maxIdle {
		return stmt.Close()
	}
	c.idle[query] = stmt
	return nil
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.sqliteConn.BeginTx(ctx, opts)
}

// Close implements driver.Conn. SQLite keeps a database open while it has
// statements.
func (c *conn) Close() error {
	for _, stmt := range c.idle {
		_ = stmt.Close() // it says how its last run ended, which was told then
	}
	clear(c.idle)
	return c.sqliteConn.Close()
}

// rows are what a statement gives, which is idle when they are closed.
type rows struct {
	driver.Rows
	ctx  context.Context
	done func() error
}

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	return r.Rows.Next(dest)
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	err := r.Rows.Close()
	if bad := r.done(); err == nil {
		err = bad
	}
	return err
}
