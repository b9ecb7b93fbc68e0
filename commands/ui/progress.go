package ui

import "github.com/schollz/progressbar/v3"

// Progress is a bar on a terminal that says how far a long act is. Anywhere else
// it is nothing at all.
type Progress struct {
	p   *Printer
	bar *progressbar.ProgressBar // nil: nobody is looking
}

// Progress begins a bar of which the end is at whole; a whole that is not
// positive is one that is not known, and only what is done is shown.
func (p *Printer) Progress(what string, whole int64) *Progress {
	if !p.options.Terminal {
		return &Progress{}
	}
	if whole <= 0 {
		whole = -1
	}
	return &Progress{p: p, bar: progressbar.NewOptions64(whole,
		progressbar.OptionSetWriter(p),
		progressbar.OptionSetDescription(Escape(what)),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionUseANSICodes(false),
		progressbar.OptionSetSpinnerChangeInterval(0), // or another goroutine would print beside us
	)}
}

// Set shows what is done, of the whole, and a count in words.
func (b *Progress) Set(done int64, count string) {
	if b.bar == nil {
		return
	}
	b.bar.Describe(Escape(count))
	_ = b.bar.Set64(done) // a bar that cannot be shown is no reason to stop
	_ = b.p.Flush()       // as well
}

// Clear takes the bar away, so that something else can be printed in its place.
func (b *Progress) Clear() {
	if b.bar == nil {
		return
	}
	_ = b.bar.Clear() // as in Set
	_ = b.p.Flush()
}
