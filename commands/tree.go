package commands

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
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
}

// Text implements view.
func (v *treeView) Text(p *ui.Printer) error { return p.Tree(v.node()) }

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
		var root *treeView
		issuers := map[string]*treeView{}
		var leaves []store.Certificate
		err := p.List(ctx, store.Filter{All: true}, func(c store.Certificate) error {
			switch {
			case c.Kind == pki.KindRoot:
				root = &treeView{certificateView: newCertificateView(c, r.now())}
			case c.Kind == pki.KindIssuing, r.now().Before(c.NotAfter):
				leaves = append(leaves, c)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if root == nil {
			return fmt.Errorf("%w: it holds no root", store.ErrDamaged)
		}
		for _, role := range []pki.Kind{pki.KindRoot, pki.KindIssuing} {
			cert, err := p.CACertificate(ctx, role)
			if err != nil {
				return err
			}
			if role == pki.KindRoot {
				issuers[string(cert.SubjectKeyId)] = root
				continue
			}
			v := &treeView{}
			issuers[string(cert.SubjectKeyId)] = v
			for _, c := range leaves {
				if c.Fingerprint == pki.FingerprintOf(cert.Raw) {
					v.certificateView = newCertificateView(c, r.now())
				}
			}
			root.Issued = append(root.Issued, v)
		}
		for _, c := range leaves {
			if parent := issuers[string(c.IssuerKeyID)]; parent != nil && !c.Kind.IsCA() {
				parent.Issued = append(parent.Issued, &treeView{certificateView: newCertificateView(c, r.now())})
			}
		}
		return r.emit(root)
	})
}
