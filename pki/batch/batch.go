package batch

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"runtime"
	"strings"
	"time"

	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// Output is where the keys and certificates go. Its methods are called in the
// order that bundle.Pair tells, Stage by several goroutines at once.
type Output interface {
	Files(base string) bundle.Files
	Check(*bundle.Pair) error
	Stage(*bundle.Pair) error
	Keep([]*bundle.Pair) error
	Put([]*bundle.Pair) error
	Drop(*bundle.Pair)
	Doubt() (where string)
}

var (
	_ Output = (*bundle.BatchDir)(nil)
	_ Output = (*bundle.BatchTar)(nil)
)

// Options are what all rows share.
type Options struct {
	Defaults store.IssueRequest // of each row, with the kind of all
	KeyType  keys.Algorithm     // empty: the PKI's
	Remember bool               // where the files are, for a renewal
}

// Result is what came of a row: an error, or a certificate that is durable in
// every respect.
type Result struct {
	Line     int
	Name     string // as it stands in the input
	Serial   pki.Serial
	NotAfter time.Time
	Clipped  string // as in store.Issued
	Files    bundle.Files
	Err      error
}

// Progress is how far a batch is when some rows are reported.
type Progress struct {
	Issued, Failed int
	Offset         int64 // octets of the input that are done with
}

// together is how many rows are made durable at once; portion, how many one
// goroutine takes at a time.
const (
	together = 1000
	portion  = 25
)

// batch is one run.
type batch struct {
	store    *store.Batch
	in       *Input
	out      Output
	options  Options
	settings store.Settings
	chain    []byte // PEM of what follows each certificate
	names    map[uint64]uint32
	seed     maphash.Seed
	progress Progress
	inDoubt  bool // whether the last commit was made
	report   func([]Result, Progress) error
}

// Run issues a certificate for each row. report gets the results in the order of
// the rows, some at a time. An error is that the batch has ended before its end:
// what was reported stays.
func Run(ctx context.Context, p *store.PKI, in *Input, out Output, o Options, report func([]Result, Progress) error) (done Progress, err error) {
	issuing, err := p.Batch(ctx)
	if err != nil {
		return done, err
	}
	defer func() {
		if closed := issuing.Close(); err == nil {
			err = closed
		}
	}()
	b := &batch{store: issuing, in: in, out: out, options: o, settings: issuing.Settings(), chain: pemfile.EncodeCertificates(issuing.Above()...),
		names: map[uint64]uint32{}, seed: maphash.MakeSeed(), report: report}
	if b.options.KeyType == "" {
		b.options.KeyType = b.settings.KeyType
	}
	err = b.run(ctx)
	return b.progress, err
}

// rows is a portion: ready is closed when each of them is prepared.
type rows struct {
	all   []*row
	ready chan struct{}
	err   error // of the input, behind the rows
}

// run starts what reads and what prepares, and takes the rows in their order.
func (b *batch) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // the reader may be waiting for its input, and ends when that comes
	workers := runtime.GOMAXPROCS(0)
	work := make(chan *rows, workers)
	// What is prepared ahead is another thousand: one side works on while the
	// other waits for the disk.
	ordered := make(chan *rows, together/portion)
	go b.read(ctx, work, ordered)
	prepared := make(chan struct{})
	for range workers {
		go func() {
			defer func() { prepared <- struct{}{} }()
			b.prepareAll(ctx, work)
		}()
	}
	err := b.write(ctx, ordered)
	stop()
	for range workers { // nothing is staged when the output is closed
		<-prepared
	}
	for {
		select {
		case r, ok := <-ordered:
			if ok {
				_ = b.abandon(r.all, err)
				continue
			}
		default: // the reader may go on waiting
		}
		return err
	}
}

// prepareAll prepares what comes, until that or the batch is over: the reader may
// be waiting for its input for as long as it likes.
func (b *batch) prepareAll(ctx context.Context, work <-chan *rows) {
	for {
		select {
		case r, ok := <-work:
			if !ok {
				return
			}
			b.prepare(ctx, r)
		case <-ctx.Done():
			return
		}
	}
}

// read hands on the rows of the input, portion by portion.
func (b *batch) read(ctx context.Context, work, ordered chan<- *rows) {
	defer close(ordered)
	defer close(work)
	for count := 0; ; {
		r := &rows{ready: make(chan struct{})}
		for len(r.all) < portion && r.err == nil {
			rec, err := b.in.next()
			if count++; err == nil && count > maxRows {
				err = fmt.Errorf("line %d: a batch has at most %d rows: begin another one with this line", rec.line, maxRows)
			}
			if err != nil {
				r.err = err
				break
			}
			r.all = append(r.all, &row{record: rec})
		}
		for _, to := range []chan<- *rows{work, ordered} {
			select {
			case to <- r:
			case <-ctx.Done():
				return
			}
		}
		if r.err != nil {
			return
		}
	}
}

// write collects rows until there are enough and commits them.
func (b *batch) write(ctx context.Context, ordered <-chan *rows) error {
	var chunk []*row
	for {
		r, err := next(ctx, ordered)
		if err != nil {
			return b.abandon(chunk, err)
		}
		chunk = append(chunk, r.all...)
		if len(chunk) >= together || r.err != nil {
			if err := b.commit(ctx, chunk); err != nil {
				return b.abandon(chunk, err)
			}
			chunk = chunk[:0]
		}
		if errors.Is(r.err, io.EOF) {
			return nil
		}
		if r.err != nil {
			return r.err
		}
	}
}

// next waits for a portion that is prepared.
func next(ctx context.Context, ordered <-chan *rows) (*rows, error) {
	select {
	case r, ok := <-ordered:
		if !ok {
			return nil, context.Cause(ctx)
		}
		select {
		case <-r.ready:
			return r, ctx.Err() // if that is over, not all of them are prepared
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	return nil, ctx.Err()
}

// abandon gives up rows of which none is issued, for all that is known.
func (b *batch) abandon(chunk []*row, err error) error {
	if b.inDoubt {
		return err
	}
	for _, r := range chunk {
		if r.cert == nil {
			b.out.Drop(&r.pair)
		}
	}
	return err
}

// commit makes the rows durable and reports them.
func (b *batch) commit(ctx context.Context, chunk []*row) error {
	of := map[*store.Candidate]*row{}
	var candidates []*store.Candidate
	for _, r := range chunk {
		if r.broken != nil {
			return r.broken
		}
		if r.err == nil {
			r.err = b.free(r)
		}
		if r.err == nil {
			candidates = append(candidates, r.candidate)
			of[r.candidate] = r
		}
	}
	pairs := func(accepted []*store.Candidate) (out []*bundle.Pair) {
		for _, c := range accepted {
			out = append(out, &of[c].pair)
		}
		return out
	}
	if len(candidates) > 0 {
		err := b.store.Commit(ctx, candidates, func(accepted []*store.Candidate) error { return b.out.Keep(pairs(accepted)) })
		if errors.Is(err, store.ErrMaybe) {
			b.inDoubt = true
			if where := b.out.Doubt(); where != "" {
				err = fmt.Errorf("%w; the keys are kept in %q", err, where)
			}
		}
		if err != nil {
			return err
		}
	}
	return b.put(chunk)
}

// put writes the certificates that are issued.
func (b *batch) put(chunk []*row) error {
	var pairs []*bundle.Pair
	for _, r := range chunk {
		if r.err == nil {
			r.cert, r.err = r.candidate.Issued()
		}
		if r.err != nil {
			b.out.Drop(&r.pair)
			continue
		}
		r.pair.Chain = append(pemfile.EncodeCertificates(r.cert), b.chain...)
		pairs = append(pairs, &r.pair)
	}
	if len(pairs) > 0 {
		if err := b.out.Put(pairs); err != nil {
			return fmt.Errorf("%d certificates of the rows from line %d on are issued and not reported: %w", len(pairs), chunk[0].line, err)
		}
	}
	results := make([]Result, len(chunk))
	for i, r := range chunk {
		results[i] = r.result(b.out)
		if results[i].Err != nil {
			b.progress.Failed++
		} else {
			b.progress.Issued++
		}
		b.progress.Offset = r.end
	}
	return b.report(results, b.progress)
}

// free says whether the files of a row can get their names: no row before has
// them, nor anybody else. What is remembered of the rows is what a batch needs
// memory for, some 30 octets a row; hence maxRows.
func (b *batch) free(r *row) error {
	key := maphash.String(b.seed, strings.ToLower(r.pair.Base))
	if line, ok := b.names[key]; ok {
		return fmt.Errorf("the name %q, or one whose files have the same names, stands in line %d already", r.candidate.Name, line)
	}
	if err := b.out.Check(&r.pair); err != nil {
		return err
	}
	b.names[key] = uint32(r.line)
	return nil
}
