package commands

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"mutual/commands/ui"
	"mutual/pki/gate"
	"mutual/pki/store"
)

// gates tells the gates of a PKI of an act, as soon as it is durable, while the
// lists with it are made.
type gates struct {
	r   *run
	ctx context.Context
	dir string

	mu      sync.Mutex
	epoch   int64 // that they were told last
	group   sync.WaitGroup
	answers []gate.Acknowledged
	err     error
}

// watchGates has the gates of the PKI that is about to be opened told.
func (r *run) watchGates(ctx context.Context, pki string, o *store.Options) *gates {
	g := &gates{r: r, ctx: context.WithoutCancel(ctx), dir: filepath.Join(pki, gatesDir)}
	o.Changed = g.changed
	r.gates = g
	return g
}

// changed tells them of an epoch, and does not wait.
func (g *gates) changed(epoch int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if epoch <= g.epoch {
		return
	}
	g.epoch = epoch
	g.group.Go(func() { g.tell(epoch, false, nil) })
}

func (g *gates) tell(epoch int64, added bool, numbers map[string]string) {
	answers, err := gate.Tell(g.ctx, g.dir, epoch, added, numbers, g.r.env.Now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers = append(g.answers, answers...)
	g.err = errors.Join(g.err, err)
}

// wait waits for the answers. The gates that read published lists are told here:
// the lists are out.
func (g *gates) wait(ctx context.Context, p *store.PKI) ([]gate.Acknowledged, error) {
	g.group.Wait()
	if g.epoch == 0 {
		return nil, nil
	}
	lists, err := p.CRLs(ctx)
	if err != nil {
		return g.answers, err
	}
	numbers, overdue := map[string]string{}, false
	for _, l := range lists {
		if l.Number != nil {
			numbers[l.KeyID] = l.Number.String()
		}
		overdue = overdue || l.Overdue
	}
	before := len(g.answers)
	g.tell(g.epoch, true, numbers)
	g.epoch = 0
	for i := range g.answers[before:] {
		if a := &g.answers[before+i]; overdue && a.Error == "" {
			a.Error = "the revocation list that it would read is not out"
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	answers := g.answers
	g.answers = nil
	return answers, g.err
}

// gateLines says what the gates answered.
func gateLines(p *ui.Printer, answers []gate.Acknowledged) error {
	for _, a := range answers {
		text, style := fmt.Sprintf("  %s cut in %.1f ms", connections(a.Cut), a.TookMs), ui.Heading
		if a.Error != "" {
			text, style = "  did not acknowledge: "+a.Error, ui.Revoked
		}
		if err := p.Line(style.Of("gate"), ui.Plain.Of("  "), ui.Name.Of(a.Gate), ui.Plain.Of(text)); err != nil {
			return err
		}
	}
	return nil
}

func connections(n int) string {
	if n == 1 {
		return "1 live connection"
	}
	return fmt.Sprintf("%d live connections", n)
}

// unsureOfAll ends an act of which it is not known what the gates made of it with
// 4, too.
func unsureOfAll(answers []gate.Acknowledged, err error) error {
	if err != nil {
		return unsure(err, "it is in force at a gate as soon as that reads the PKI, which it does every second")
	}
	return unsureOfGates(answers)
}

// unsureOfGates ends an act that a gate has not acknowledged with 4.
func unsureOfGates(answers []gate.Acknowledged) error {
	for _, a := range answers {
		if a.Error != "" {
			return unsure(fmt.Errorf("the gate at %s has not acknowledged it: %s", a.Gate, a.Error),
				"it is in force there as soon as the gate reads the PKI, which it does every second; end the gate, or look at its log")
		}
	}
	return nil
}

// followOptions are what a gate needs of the process to follow a PKI: it never
// asks for a passphrase.
func (r *run) followOptions() store.Options {
	return store.Options{Now: r.env.Now, Actor: actor(), Waiting: func(what string) { r.note("waiting for %s", what) }}
}
