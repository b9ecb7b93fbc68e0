package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki/store"
)

// maxLeaves is how many leaves of a CA the tree shows.
const maxLeaves = 20

func treeCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "tree",
		Category: categoryLooking,
		Usage:    "draw root, issuing CA and leaves",
		Long:     fmt.Sprintf("Shows what has not expired, at most %d leaves of a CA; --json has all.", maxLeaves),
		Example:  "mutual tree",
		Action:   runTree,
	})
}

// treeView is a certificate and what it has issued.
type treeView struct {
	certificateView
	Issued []*treeView `json:"issued,omitempty"`
	Older  []*treeView `json:"olderRoots,omitempty"` // beside the newest
}

// Text implements view.
func (v *treeView) Text(p *ui.Printer) error {
	err := p.Tree(v.node())
	for _, older := range v.Older {
		if err == nil {
			err = p.Tree(older.node())
		}
	}
	return err
}

func (v *treeView) node() ui.Node {
	n := ui.Node{Spans: []ui.Span{
		ui.Name.Of(v.Name), ui.Plain.Of("  "), v.state(),
		ui.Muted.Of(fmt.Sprintf("  %s, until %s, serial %s", v.Kind, when(v.NotAfter), v.Serial)),
	}}
	for i, child := range v.Issued {
		if i == maxLeaves {
			n.Children = append(n.Children, ui.Node{Spans: []ui.Span{ui.Muted.Of(fmt.Sprintf("… and %d more: mutual list", len(v.Issued)-maxLeaves))}})
			break
		}
		n.Children = append(n.Children, child.node())
	}
	return n
}

func runTree(ctx context.Context, r *run, _ *cli.Context) error {
	return r.reading(ctx, func(p *store.PKI) error {
		roots, err := p.Tree(ctx)
		if err != nil {
			return err
		}
		v := newTreeView(roots[0], r.now())
		for _, older := range roots[1:] {
			v.Older = append(v.Older, newTreeView(older, r.now()))
		}
		return r.emit(v)
	})
}

func newTreeView(b *store.Branch, now time.Time) *treeView {
	v := &treeView{certificateView: newCertificateView(b.Certificate, now)}
	for _, issued := range b.Issued {
		v.Issued = append(v.Issued, newTreeView(issued, now))
	}
	return v
}
