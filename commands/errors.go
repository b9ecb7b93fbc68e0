package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"mutual/commands/ui"
)

// The exit codes, the same for every command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitBad         = 3
	exitUnsure      = 4
	exitInterrupted = 130
)

// exitError is an error that says how the process ends. With a nil err
// nothing is printed: what there is to say stands on stdout.
type exitError struct {
	code int
	err  error
	hint string
}

// Error gives the text of the error inside.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap gives the error inside.
func (e *exitError) Unwrap() error { return e.err }

// usagef is for what the command line alone shows to be wrong: exit code 2.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// usage makes err, about a value on the command line, a usage error.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: exitUsage, err: err}
}

// failf is for every other failure, exit code 1, with a hint at what to do.
func failf(hint, format string, args ...any) error {
	return &exitError{code: exitFailed, err: fmt.Errorf(format, args...), hint: hint}
}

// withHint adds a hint to err and keeps its exit code.
func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*exitError); ok {
		return &exitError{code: e.code, err: e.err, hint: hint}
	}
	return &exitError{code: codeOf(err), err: err, hint: hint}
}

// bad ends a command that has checked something and found it bad: exit code
// 3. The error may be nil when stdout says it all.
func bad(err error) error { return &exitError{code: exitBad, err: err} }

// unsure ends a command that could not tell: exit code 4. The error may be
// nil when stdout says it all.
func unsure(err error, hint string) error {
	return &exitError{code: exitUnsure, err: err, hint: hint}
}

// brokenStdout says that what there was to print could not be.
type brokenStdout struct {
	err  error
	done string // what had changed before, if anything
}

// Error names the stream.
func (e *brokenStdout) Error() string {
	text := "writing to standard output: " + e.err.Error()
	if e.done != "" {
		return e.done + ", but " + text
	}
	return text
}

// Unwrap gives the failure.
func (e *brokenStdout) Unwrap() error { return e.err }

// rule says what an error from a library means to the person who ran the
// command.
type rule struct {
	match func(error) bool
	code  int    // 0 means 1
	hint  string // may be empty
}

// rules is the table of the errors that are known; the first match counts.
func rules() []rule {
	return slices.Concat(renewRules(), storeRules(), systemRules())
}

func systemRules() []rule {
	return []rule{
		{match: is(syscall.ENOSPC), hint: "there is no room left on that file system"},
		{match: is(syscall.EROFS), hint: "that file system is read-only: choose another place with --out or --pki"},
		{match: is(fs.ErrPermission), hint: "run the command as the owner of that file or directory"},
		{match: is(fs.ErrExist), hint: "nothing was overwritten: choose another place, or replace it with --force where the command has it"},
		{match: is(fs.ErrNotExist), hint: "check the path; a relative one starts at the working directory"},
	}
}

// is matches the errors that errors.Is finds to be target.
func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// as matches the errors that hold a T.
func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func findRule(err error) rule {
	for _, r := range rules() {
		if r.match(err) {
			return r
		}
	}
	return rule{}
}

// codeOf is the exit code for an error that nothing interrupted.
func codeOf(err error) int {
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if code := findRule(err).code; code != 0 {
		return code
	}
	return exitFailed
}

// hintOf is the outermost hint that err carries, or the known one.
func hintOf(err error) string {
	for e, ok := errors.AsType[*exitError](err); ok; e, ok = errors.AsType[*exitError](e.err) {
		if e.hint != "" {
			return e.hint
		}
	}
	return findRule(err).hint
}

// leavesNothing reports whether a command that ended with err has no product:
// what it had begun to print is then thrown away.
func leavesNothing(err error, json bool) bool {
	code := codeOf(err)
	return code == exitUsage || code == exitFailed && json
}

// finish reports how a command ended and returns the exit code. A command
// that failed after the context was cancelled was interrupted, whatever its
// error says.
func finish(ctx context.Context, stderr *ui.Printer, err error) int {
	if err == nil {
		return exitDone
	}
	code := codeOf(err)
	if ctx.Err() != nil && (code == exitFailed || errors.Is(err, context.Canceled)) {
		code = exitInterrupted
	}
	report(stderr, err)
	return code
}

// report prints err as one line, or one line for each error that was joined,
// and then the hint. It is the only place that prints an error.
func report(stderr *ui.Printer, err error) {
	if errors.Is(err, syscall.EPIPE) && as[*brokenStdout](err) {
		return // whoever read has what it wanted: mutual log | head
	}
	for _, e := range split(err) {
		text := e.Error()
		if errors.Is(e, context.Canceled) {
			text = strings.Replace(text, context.Canceled.Error(), "interrupted", 1)
		}
		_ = stderr.Message(ui.SeverityError, text) // nobody is left to tell
	}
	if hint := hintOf(err); hint != "" {
		_ = stderr.Message(ui.SeverityHint, hint) // nobody is left to tell
	}
}

// split gives the errors that errors.Join put into err; any other error is
// alone, and an exitError without an error inside gives none.
func split(err error) []error {
	inner := err
	if e, ok := err.(*exitError); ok {
		inner = e.err
	}
	if inner == nil {
		return nil
	}
	joined, ok := inner.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	texts := make([]string, 0, len(joined.Unwrap()))
	for _, e := range joined.Unwrap() {
		texts = append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != inner.Error() { // fmt.Errorf with more than one %w
		return []error{err}
	}
	return joined.Unwrap()
}
