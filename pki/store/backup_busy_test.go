package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/keys"
)

// Backups while others issue, revoke and publish: each is of one moment, whole,
// and in order; every act before a backup began is in it; and no writer waits
// for one.
func TestBackupWhileOthersWrite(t *testing.T) {
	f := newFixture(t)
	ctx, stop := context.WithCancel(t.Context())
	var issued, slowest atomic.Int64
	var writers sync.WaitGroup
	for w := range 3 {
		other, err := Open(t.Context(), f.dir, f.options()) // as another process has it
		f.must(err)
		defer func() { _ = other.Close() }()
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				began := time.Now()
				who := name(fmt.Sprintf("w%d-%d", w, i))
				key, err := keys.Generate(keys.P256)
				if err == nil {
					_, err = other.Issue(context.Background(), IssueRequest{Kind: pki.KindClient, Name: who, PublicKey: key.Public()})
				}
				issued.Add(1)
				if err == nil && i%3 == 0 {
					_, err = other.Revoke(context.Background(), Selection{Names: []pki.Name{who}}, pki.Superseded, false)
				}
				if err != nil {
					t.Error(err)
					return
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(began))))
			}
		})
	}
	var paths []string
	var least []int64
	dir := t.TempDir()
	for i := range 8 {
		least = append(least, issued.Load()-3) // those under way count when they begin to be recorded
		paths = append(paths, filepath.Join(dir, fmt.Sprint(i)))
		_, err := f.Backup(t.Context(), BackupRequest{Path: paths[i]})
		f.must(err)
	}
	stop()
	writers.Wait()
	f.checkAll()
	var last int64
	for i, path := range paths {
		r, done := f.restore(path)
		n := int64(len(r.list(Filter{Kind: pki.KindClient, All: true})))
		if n < least[i] || n > issued.Load() || done.Manifest.Head.Number <= last {
			t.Errorf("backup %d has %d certificates, at least %d were issued, and head %d after %d", i, n, least[i], done.Manifest.Head.Number, last)
		}
		last = done.Manifest.Head.Number
		f.isPrefix(r, last)
		if _, compared := f.restore(path, f.dir); compared.Later.Sources[len(compared.Later.Sources)-1].Forked {
			t.Errorf("backup %d is of another history", i)
		}
	}
	t.Logf("%d certificates, the slowest act took %v", issued.Load(), time.Duration(slowest.Load()))
}

// isPrefix wants the journal up to a line to be the same.
func (f *fixture) isPrefix(r *fixture, number int64) {
	f.t.Helper()
	mine, err := hashAt(f.t.Context(), f.db, number)
	f.must(err)
	theirs, err := hashAt(f.t.Context(), r.db, number)
	f.must(err)
	if mine != theirs || mine == "" {
		f.t.Errorf("line %d is another one", number)
	}
}

// Backups at the same time wait for each other.
func TestBackupsQueue(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	dir := t.TempDir()
	for i := range 4 {
		all.Go(func() {
			if _, err := f.Backup(t.Context(), BackupRequest{Path: filepath.Join(dir, fmt.Sprint(i))}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 4 {
		f.restore(filepath.Join(dir, fmt.Sprint(i)))
	}
}

// An interrupted backup leaves nothing.
func TestBackupInterrupted(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "b")
	before := files(t, f.dir)
	ctx, cancel := context.WithCancel(t.Context())
	req := BackupRequest{Path: path, Passphrase: func() ([]byte, error) { cancel(); return []byte("x"), nil }}
	_, err := f.Backup(ctx, req)
	wantError(t, err, context.Canceled, "")
	if got := files(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("left are %v", got)
	}
	if got := files(t, f.dir); len(got) != len(before)+1 { // and the lock
		t.Errorf("the PKI holds %v", got)
	}
}
