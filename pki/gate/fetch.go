package gate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"mutual/pki/pemfile"
)

// fetcher gets a list from a URL every minute, beside whatever else goes on.
type fetcher struct {
	url    string
	client *http.Client
	ctx    context.Context
	stop   context.CancelFunc

	mu   sync.Mutex
	busy bool
	next time.Time // when it is got again
	data []byte    // not nil: not yet taken
	sum  [sha256.Size]byte
	err  error
}

const (
	fetchEvery    = time.Minute
	fetchPatience = 10 * time.Second
)

func newFetcher(url string) *fetcher {
	f := &fetcher{url: url, client: &http.Client{Timeout: fetchPatience, Transport: &http.Transport{Proxy: nil}}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// load gives the list where it is another than the last time, and else nil. Only
// the first call waits for it.
func (f *fetcher) load(ctx context.Context, now time.Time) ([]byte, error) {
	f.mu.Lock()
	first := f.next.IsZero()
	due := !f.busy && !now.Before(f.next)
	if due {
		f.busy, f.next = true, now.Add(fetchEvery)
	}
	f.mu.Unlock()
	switch {
	case due && first:
		f.get(ctx)
	case due:
		go f.get(f.ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	data := f.data
	f.data = nil
	return data, f.err
}

// reject says that what was got is of no use: it is looked at again the next time,
// and told until then.
func (f *fetcher) reject(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum, f.err = [sha256.Size]byte{}, err
}

func (f *fetcher) get(ctx context.Context) {
	data, err := f.request(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy, f.err = false, err
	if err != nil {
		return
	}
	if sum := sha256.Sum256(data); sum != f.sum {
		f.sum, f.data = sum, data
	}
}

func (f *fetcher) request(ctx context.Context) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, fmt.Errorf("getting the revocation list: %w", err)
	}
	answer, err := f.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("getting the revocation list: %w", err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New("getting the revocation list: " + answer.Status)
	}
	data, err := pemfile.Read(answer.Body, maxCRL)
	if err != nil {
		return nil, fmt.Errorf("getting the revocation list: %w", err)
	}
	return data, nil
}

func (f *fetcher) close() { f.stop() }
