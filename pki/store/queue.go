package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// patience is how long a process waits for another before it says so.
const patience = time.Second

// queue waits for an advisory lock and returns what releases it. It is for
// fairness and to do work once: nothing relies on it to be unique.
func (p *PKI) queue(ctx context.Context, name, what string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(p.Path(name)), 0o755); err != nil { // crl/ can be made again
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	f, err := os.OpenFile(p.Path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	locked := make(chan error, 1)
	go func() { locked <- flock(f) }()
	slow := time.NewTimer(patience)
	defer slow.Stop()
	for {
		select {
		case err := <-locked:
			if err != nil {
				_ = f.Close() // nothing was written to it
				return nil, fmt.Errorf("waiting for %s: %w", what, err)
			}
			return func() { _ = f.Close() }, nil // closing releases the lock
		case <-slow.C:
			if p.opts.Waiting != nil {
				p.opts.Waiting(what)
			}
		case <-ctx.Done():
			go func() { <-locked; _ = f.Close() }()
			return nil, ctx.Err()
		}
	}
}
