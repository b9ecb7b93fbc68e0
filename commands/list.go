package commands

import (
	"context"
	"strconv"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki"
	"mutual/pki/store"
)

func listCommand() *cli.Command {
	return leaf(leafSpec{
		Name:     "list",
		Category: categoryLooking,
		Usage:    "list certificates, the one that expires first first",
		Long:     "Without a filter: everything that has not expired, the CAs included and the certificates of probes left out (--kind probe). Several filters must all hold.",
		Example:  "mutual list\nmutual list --expiring 30d --exit-code\nmutual list --name 'dev-*' --json",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "list the expired, too"},
			&cli.StringFlag{Name: "expiring", Usage: "list what is valid, not replaced, and ends within `TTL`"},
			&cli.BoolFlag{Name: "expired", Usage: "list only what has expired"},
			&cli.BoolFlag{Name: "revoked", Usage: "list only what is revoked or held"},
			&cli.BoolFlag{Name: "blocked", Usage: "list only what belongs to identities that are revoked or held"},
			&cli.StringFlag{Name: "name", Usage: "list only identities whose name matches `GLOB` (* and ?)"},
			&cli.StringFlag{Name: "label", Usage: "list only certificates with the label `TEXT`"},
			&cli.StringFlag{Name: "kind", Usage: "list only certificates of `KIND`: client, server, probe, issuing or root"},
			&cli.BoolFlag{Name: "exit-code", Usage: "exit with 3 when anything is listed"},
		},
		Values: map[string][]string{"kind": {"client", "server", "probe", "issuing", "root"}},
		Action: runList,
	})
}

func runList(ctx context.Context, r *run, c *cli.Context) error {
	f, err := listFilter(c)
	if err != nil {
		return err
	}
	listed := 0
	err = r.reading(ctx, func(p *store.PKI) error {
		if r.json {
			listed, err = r.listJSON(ctx, p, f)
		} else {
			listed, err = r.listTable(ctx, p, f)
		}
		return err
	})
	if err == nil && listed > 0 && c.Bool("exit-code") {
		return bad(nil)
	}
	return err
}

func listFilter(c *cli.Context) (store.Filter, error) {
	f := store.Filter{
		All: c.Bool("all"), Expired: c.Bool("expired"), Revoked: c.Bool("revoked"), Blocked: c.Bool("blocked"),
		Glob: c.String("name"), Label: c.String("label"),
	}
	var err error
	if s := c.String("expiring"); c.IsSet("expiring") {
		if f.Expiring, err = pki.ParseLifetime(s); err != nil {
			return f, usagef("--expiring: %w", err)
		}
	}
	if s := c.String("kind"); c.IsSet("kind") {
		if f.Kind, err = pki.ParseKind(s); err != nil {
			return f, usagef("--kind: %w", err)
		}
	}
	return f, nil
}

func (r *run) listJSON(ctx context.Context, p *store.PKI, f store.Filter) (listed int, err error) {
	out := r.out.Array()
	err = p.List(ctx, f, func(c store.Certificate) error {
		listed++
		return out.Add(newCertificateView(c, r.now()))
	})
	if err != nil {
		return listed, err
	}
	return listed, out.Close()
}

func (r *run) listTable(ctx context.Context, p *store.PKI, f store.Filter) (int, error) {
	table := r.out.LongTable(certificateColumns()...)
	err := p.List(ctx, f, func(c store.Certificate) error {
		return addCertificate(table, newCertificateView(c, r.now()))
	})
	if err != nil {
		return table.Len(), err
	}
	if table.Len() == 0 {
		r.note("nothing to list")
		return 0, nil
	}
	return table.Len(), table.Close()
}

func certificateColumns() []ui.Column {
	return []ui.Column{
		{Title: "NAME", Flexible: true}, {Title: "KIND"}, {Title: "SERIAL", Flexible: true}, {Title: "NOT AFTER"},
		{Title: "DAYS", Right: true}, {Title: "STATE"}, {Title: "LABEL", Flexible: true},
	}
}

func addCertificate(t *ui.Table, v certificateView) error {
	return t.Row(ui.Name.Of(v.Name), ui.Plain.Of(string(v.Kind)), ui.Serial.Of(v.Serial.String()),
		ui.Plain.Of(when(v.NotAfter)), ui.Plain.Of(strconv.Itoa(v.DaysLeft)), v.state(), ui.Plain.Of(v.Label))
}
