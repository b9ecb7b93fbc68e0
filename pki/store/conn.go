package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"

	"modernc.org/sqlite"
)

// openDB opens the database of a data source name of SQLite's driver.
func openDB(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{c}), nil
}

// connector opens connections that prepare each statement once. One command
// asks the same several times, and to prepare takes longer than to look a row up.
//
// A statement is not told of a context that ends while it runs: to watch for it
// takes the driver a goroutine at each. What may take long goes through its rows
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
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	inner, err := stmt.(driver.StmtQueryContext).QueryContext(context.WithoutCancel(ctx), args)
	if err != nil {
		_ = stmt.Close() // the first error is the one to report
		return nil, err
	}
	return &rows{Rows: inner, done: func() error { return c.keep(query, stmt) }}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := stmt.(driver.StmtExecContext).ExecContext(context.WithoutCancel(ctx), args)
	if err != nil {
		_ = stmt.Close() // as above
		return nil, err
	}
	return result, c.keep(query, stmt)
}

// take gives an idle statement, or prepares one: a query that is asked again
// while its rows are read has two.
func (c *conn) take(ctx context.Context, query string) (driver.Stmt, error) {
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
	done func() error
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	err := r.Rows.Close()
	if bad := r.done(); err == nil {
		err = bad
	}
	return err
}
