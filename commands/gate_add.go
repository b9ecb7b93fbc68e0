package commands

import (
	"context"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki/gate"
	"mutual/pki/store"
)

func gateAddCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "add",
		Usage:     "have acts wait for a gate that runs as another user",
		ArgsUsage: "SOCKET",
		Long: "SOCKET is what that gate was given with --control. It reads the published CAs and lists: an act on the PKI tells it " +
			"when they are out, and waits until it has read them and cut who is revoked.",
		Example: "mutual gate add /run/mutual-gate/control.sock",
		MinArgs: 1,
		MaxArgs: 1,
		Action:  runGateAdd,
	})
}

type gateAddedView struct {
	Socket string `json:"socket"`
}

// Text implements view.
func (v *gateAddedView) Text(p *ui.Printer) error {
	return p.Line(ui.Plain.Of("acts on the PKI wait for the gate at "), ui.Name.Of(v.Socket))
}

func runGateAdd(ctx context.Context, r *run, c *cli.Context) error {
	socket, err := filepath.Abs(c.Args().First())
	if err != nil {
		return err
	}
	return r.withPKI(ctx, func(p *store.PKI) error {
		if err := gate.Add(ctx, p.Path(gatesDir), socket, r.env.Now); err != nil {
			return err
		}
		return r.emit(&gateAddedView{Socket: socket})
	})
}
