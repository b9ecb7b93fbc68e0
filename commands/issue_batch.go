package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/batch"
	"mutual/pki/bundle"
	"mutual/pki/store"
)

const (
	flagBatch = "batch"
	flagTar   = "tar"
)

func batchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagBatch, Usage: "issue a certificate for each row of `FILE` (or -): CSV with the columns name, dns, ip, email, uri, ttl, label, or JSON lines"},
		&cli.StringFlag{Name: flagTar, Usage: "with --batch: write a tar archive `FILE` instead of files; with - to standard output, and the results to standard error"},
	}
}

// checkBatch refuses flags that do not go together with a batch, or need one.
func checkBatch(r *run, c *cli.Context) error {
	if !c.IsSet(flagBatch) {
		if c.IsSet(flagTar) {
			return usagef("--%s needs --%s", flagTar, flagBatch)
		}
		return nil
	}
	if c.NArg() > 0 {
		return usagef("--%s and NAME exclude each other: the names stand in the batch", flagBatch)
	}
	for _, flag := range []string{"csr", "accept-names", "bundle", flagFormat, flagLegacy, flagPasswordOut, flagPasswordFile, flagPasswordFD} {
		if c.IsSet(flag) {
			return usagef("--%s and --%s exclude each other", flagBatch, flag)
		}
	}
	switch {
	case c.String(flagBatch) == "":
		return usagef("--%s needs a FILE, or - for standard input", flagBatch)
	case c.IsSet(flagTar) && c.String(flagTar) == "":
		return usagef("--%s needs a FILE, or - for standard output", flagTar)
	case c.IsSet(flagTar) && c.IsSet("out"):
		return usagef("--%s and --out exclude each other", flagTar)
	case c.String("out") == "-":
		return usagef("a batch goes to standard output as an archive: --%s -", flagTar)
	case c.String(flagTar) == "-" && c.Bool("force"):
		return usagef("--force is about files, and --%s - writes none", flagTar)
	case c.String(flagTar) == "-" && r.env.Stdout.Terminal:
		return failf("redirect it to a file or a program", "refusing to write keys to a terminal")
	}
	return nil
}

// batchOutput is where a batch goes, and how it is ended.
type batchOutput interface {
	batch.Output
	Close(done bool) error
}

func (r *run) batchOutput(c *cli.Context) (batchOutput, error) {
	tar, force := c.String(flagTar), c.Bool("force")
	switch {
	case tar == "-":
		// Not through r.out, which keeps back what it prints, and drops it when a
		// command fails: the keys are written before their rows are reported.
		return bundle.StreamBatchTar(r.env.Stdout, r.now()), nil
	case tar != "":
		return bundle.CreateBatchTar(tar, force, r.now())
	}
	dir := c.String("out")
	if dir == "" {
		dir = "."
	}
	return bundle.OpenBatchDir(dir, force)
}

// batchFile opens the rows, and gives how many octets they are, 0 if nobody
// knows.
func (r *run) batchFile(path string) (io.Reader, int64, func(), error) {
	if path == "-" {
		return r.env.Stdin, 0, func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("reading the batch: %w", err)
	}
	size := int64(0)
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, func() { _ = f.Close() }, nil // it was only read
}

// batchRowView is what came of a row.
type batchRowView struct {
	Line        int         `json:"line"`
	Name        string      `json:"name"`
	Serial      *pki.Serial `json:"serial,omitempty"`
	NotAfter    *time.Time  `json:"notAfter,omitempty"`
	Key         string      `json:"keyFile,omitempty"`
	Certificate string      `json:"certificateFile,omitempty"`
	Clipped     string      `json:"clippedBy,omitempty"`
	Error       string      `json:"error,omitempty"`
}

func newBatchRowView(res batch.Result) *batchRowView {
	v := &batchRowView{Line: res.Line, Name: res.Name, Key: res.Files.Key, Certificate: res.Files.Certificate, Clipped: res.Clipped}
	if !res.Serial.IsZero() {
		v.Serial, v.NotAfter = &res.Serial, &res.NotAfter
	}
	if res.Err != nil {
		v.Error = res.Err.Error()
	}
	return v
}

// Text implements view.
func (v *batchRowView) Text(p *ui.Printer) error {
	if v.Error != "" {
		return p.Line(ui.Revoked.Of("failed"), ui.Plain.Of(fmt.Sprintf("  line %d  ", v.Line)), ui.Name.Of(v.Name), ui.Plain.Of("  "+v.Error))
	}
	line := "  serial " + v.Serial.String() + ", until " + when(*v.NotAfter) + ", " + v.Certificate
	if v.Clipped != "" {
		line += " (clipped by " + v.Clipped + ")"
	}
	return p.Line(ui.Valid.Of("issued"), ui.Plain.Of("  "), ui.Name.Of(v.Name), ui.Plain.Of(line))
}

// runBatch issues to all rows of a file.
func runBatch(ctx context.Context, r *run, c *cli.Context, kind pki.Kind) error {
	defaults, err := issueRequest(c, kind, pki.Name{})
	if err != nil {
		return err
	}
	options := batch.Options{Defaults: defaults, Remember: !c.IsSet(flagTar) && !c.Bool("no-remember")}
	if c.IsSet("key-type") {
		if options.KeyType, err = keyType(c, ""); err != nil {
			return err
		}
	}
	file, size, closeFile, err := r.batchFile(c.String(flagBatch))
	if err != nil {
		return err
	}
	defer closeFile()
	failed := 0
	err = r.writing(ctx, func(p *store.PKI) error {
		in, err := batch.NewInput(file)
		if err != nil {
			return err
		}
		out, err := r.batchOutput(c)
		if err != nil {
			return batchHint(err)
		}
		done, err := r.batch(ctx, p, in, out, options, size)
		failed = done.Failed
		return r.endBatch(c, out, done, err)
	})
	if err == nil && failed > 0 {
		return &exitError{code: exitFailed} // the lines say what
	}
	return err
}

func batchHint(err error) error {
	switch {
	case errors.Is(err, bundle.ErrPartial):
		return withHint(err, "it may hold the only copies of keys: keep what is in it (tar -xf), and move it away")
	case errors.Is(err, fs.ErrExist):
		return withHint(err, "write elsewhere, or replace it with --force")
	}
	return err
}

// batch runs the batch and prints what comes of its rows.
func (r *run) batch(ctx context.Context, p *store.PKI, in *batch.Input, out batch.Output, options batch.Options, size int64) (batch.Progress, error) {
	results := r.out
	if _, archive := out.(*bundle.BatchTar); archive && out.(*bundle.BatchTar).Partial() == "" {
		results = r.talk
	}
	bar := r.progress(size)
	defer bar.Clear()
	return batch.Run(ctx, p, in, out, options, func(rows []batch.Result, done batch.Progress) error {
		bar.Clear()
		for _, row := range rows {
			if err := r.emitTo(results, newBatchRowView(row)); err != nil {
				return err
			}
		}
		if err := results.Flush(); err != nil {
			return &brokenStdout{err, fmt.Sprintf("%d certificates are issued", done.Issued)}
		}
		bar.Set(done.Offset, fmt.Sprintf("%d issued", done.Issued))
		return nil
	})
}

func (r *run) progress(size int64) *ui.Progress {
	if r.quiet {
		return &ui.Progress{}
	}
	return r.talk.Progress("issuing", size)
}

// emitTo prints one result of very many, unflushed.
func (r *run) emitTo(p *ui.Printer, v view) error {
	if r.json {
		return p.JSONRow(v)
	}
	return v.Text(p)
}

// endBatch ends the output and says what was done.
func (r *run) endBatch(c *cli.Context, out batchOutput, done batch.Progress, err error) error {
	whole := err == nil && (done.Issued > 0 || done.Failed == 0)
	closeErr := out.Close(whole)
	if err == nil {
		err = closeErr
	}
	r.note("%d issued, %d failed", done.Issued, done.Failed)
	if err == nil || done.Issued == 0 {
		return err
	}
	if tar, ok := out.(*bundle.BatchTar); ok && tar.Partial() != "" {
		return withHint(err, "what was issued is in "+tar.Partial()+": tar reads it")
	}
	return err
}
