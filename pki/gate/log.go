package gate

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

// Log is the access log: a JSON object a line. What happens is written down by a
// goroutine of its own and waits for nothing: a line for which there is no room
// is dropped and counted.
type Log struct {
	mu      sync.Mutex
	pending []byte
	dropped int64     // since the log has said so
	newest  time.Time // of the lines
	total   int64     // dropped in all
	failing error     // why the last write failed
	out     io.WriteCloser
	open    func() (io.WriteCloser, error)
	must    bool

	wake chan struct{}
	done chan struct{}
	stop chan struct{}
}

// maxPending bounds what waits to be written: some ten thousand lines.
const maxPending = 8 << 20

// NewLog begins a log. open is called now and by Reopen. With must, a gate lets
// nothing through while the log cannot be written.
func NewLog(open func() (io.WriteCloser, error), must bool) (*Log, error) {
	out, err := open()
	if err != nil {
		return nil, err
	}
	l := &Log{out: out, open: open, must: must, wake: make(chan struct{}, 1), done: make(chan struct{}), stop: make(chan struct{})}
	go l.run()
	return l, nil
}

// begin writes the first line: of a log that must be written before it returns.
func (l *Log) begin(b []byte, now time.Time) error {
	if !l.must {
		l.write(b, now)
		return nil
	}
	_, err := l.out.Write(append(bytes.Clone(b), '\n')) // nothing else is written yet
	return err
}

// write adds a line.
func (l *Log) write(b []byte, now time.Time) {
	l.mu.Lock()
	l.newest = now
	if len(l.pending)+len(b) > maxPending {
		l.drop(1)
	} else {
		l.pending = append(append(l.pending, b...), '\n')
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Log) drop(lines int64) {
	l.dropped += lines
	l.total += lines
}

// gather is how long lines are gathered before they are written together.
const gather = time.Millisecond

// retryLog is how long after a failure the log is tried again.
const retryLog = time.Second

func (l *Log) run() {
	defer close(l.done)
	var spare []byte
	for {
		stopping := false
		select {
		case <-l.wake:
			time.Sleep(gather)
		case <-l.stop:
			stopping = true
		}
		var err error
		spare, err = l.flush(spare)
		switch {
		case stopping:
			return
		case err != nil && !l.retry():
			return
		}
	}
}

// flush writes what waits and how many lines were dropped behind it, and gives its
// memory back. What could not be written goes on waiting.
func (l *Log) flush(spare []byte) ([]byte, error) {
	l.mu.Lock()
	batch, out, dropped, newest := l.pending, l.out, l.dropped, l.newest
	l.pending, l.dropped = spare[:0], 0
	l.mu.Unlock()
	n, err := 0, error(nil)
	if len(batch) > 0 {
		n, err = out.Write(batch)
	}
	if err == nil && dropped > 0 {
		var lost line
		lost.time("time", newest)
		lost.text("event", "dropped")
		lost.number("lines", dropped)
		if _, err = out.Write(append(lost.end(), '\n')); err == nil {
			dropped = 0
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += dropped * int64(count(err != nil))
	if l.failing = err; err != nil {
		l.pending = append(append([]byte{}, batch[n:]...), l.pending...)
		l.trim()
	}
	return batch, err
}

// trim drops the newest lines that are too many, where a write has failed while
// others came.
func (l *Log) trim() {
	if len(l.pending) <= maxPending {
		return
	}
	end := bytes.LastIndexByte(l.pending[:maxPending], '\n') + 1
	l.drop(int64(bytes.Count(l.pending[end:], []byte("\n"))))
	l.pending = l.pending[:end]
}

// retry waits until a log that failed is worth another try. It is not when the
// log is closed.
func (l *Log) retry() bool {
	select {
	case <-time.After(retryLog):
	case <-l.stop:
		return false
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// fails says, of a log that must be written, why it cannot be.
func (l *Log) fails() error {
	if !l.must {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing == nil && len(l.pending) > maxPending/2 {
		return errors.New("it is written too slowly")
	}
	return l.failing
}

// Dropped counts the lines for which there was no room.
func (l *Log) Dropped() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// Reopen opens the log again: its file was moved away.
func (l *Log) Reopen() error {
	out, err := l.open()
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.out
	l.out, l.failing = out, nil
	l.mu.Unlock()
	return old.Close()
}

// closePatience bounds how long Close waits for who takes nothing.
const closePatience = 2 * time.Second

// Close writes what waits. An error says that something could not be.
func (l *Log) Close() error {
	close(l.stop)
	select {
	case <-l.done:
		return errors.Join(l.failing, l.out.Close())
	case <-time.After(closePatience):
		return errors.New("nobody takes it")
	}
}

// broken says why the last write failed.
func (l *Log) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing
}
