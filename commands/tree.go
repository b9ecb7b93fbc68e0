package commands

import (
	"context"
	"fmt"
	"iter"
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

// treeView is the roots, the newest first, with what each has issued. Leaves are
// read as they are printed.
type treeView struct {
	ctx   context.Context
	roots []*store.Branch
	now   time.Time
}

// Text implements view.
func (v *treeView) Text(p *ui.Printer) error {
	for _, root := range v.roots {
		n, err := v.node(root)
		if err == nil {
			err = p.Tree(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *treeView) node(b *store.Branch) (ui.Node, error) {
	n := v.line(b.Certificate)
	for _, issued := range b.Issued {
		child, err := v.node(issued)
		if err != nil {
			return n, err
		}
		n.Children = append(n.Children, child)
	}
	shown := 0
	for c, err := range b.All(v.ctx) {
		if err != nil {
			return n, err
		}
		if shown == maxLeaves {
			n.Children = append(n.Children, ui.Node{Spans: []ui.Span{ui.Muted.Of(fmt.Sprintf("… and %d more: mutual list", b.Leaves-maxLeaves))}})
			break
		}
		shown++
		n.Children = append(n.Children, v.line(c))
	}
	return n, nil
}

func (v *treeView) line(c store.Certificate) ui.Node {
	view := newCertificateView(c, v.now)
	return ui.Node{Spans: []ui.Span{
		ui.Name.Of(view.Name), ui.Plain.Of("  "), view.state(),
		ui.Muted.Of(fmt.Sprintf("  %s, until %s, serial %s", view.Kind, when(view.NotAfter), view.Serial)),
	}}
}

// JSON implements longView: the newest root with what it has "issued", and the
// "olderRoots" beside it.
func (v *treeView) JSON(p *ui.Printer) error {
	o := p.Object()
	if err := v.members(o, v.roots[0]); err != nil {
		return err
	}
	if err := v.branches(o, "olderRoots", v.roots[1:], none[store.Certificate]); err != nil {
		return err
	}
	return o.Close()
}

// members prints a certificate and what it has issued as members of an object.
func (v *treeView) members(o *ui.Object, b *store.Branch) error {
	if err := o.Members(newCertificateView(b.Certificate, v.now)); err != nil {
		return err
	}
	return v.branches(o, "issued", b.Issued, b.All(v.ctx))
}

// branches prints branches and leaves as an array, or nothing where there are
// none.
func (v *treeView) branches(o *ui.Object, name string, branches []*store.Branch, leaves iter.Seq2[store.Certificate, error]) error {
	var array *ui.Array
	begin := func() (err error) {
		if array == nil {
			array, err = o.Array(name)
		}
		return err
	}
	for _, b := range branches {
		if err := begin(); err != nil {
			return err
		}
		child, err := array.Object()
		if err != nil {
			return err
		}
		if err := v.members(child, b); err != nil {
			return err
		}
		if err := child.Close(); err != nil {
			return err
		}
	}
	for c, err := range leaves {
		if err == nil {
			err = begin()
		}
		if err == nil {
			err = array.Add(newCertificateView(c, v.now))
		}
		if err != nil {
			return err
		}
	}
	if array == nil {
		return nil
	}
	return array.Close()
}

func runTree(ctx context.Context, r *run, _ *cli.Context) error {
	return r.reading(ctx, func(p *store.PKI) error {
		roots, err := p.Tree(ctx)
		if err != nil {
			return err
		}
		return r.emit(&treeView{ctx, roots, r.now()})
	})
}
