package commands

import "mutual/commands/ui"

// versionView is the result of --version.
type versionView struct {
	Version string `json:"version"`
}

// Text prints the program's name and its version.
func (v versionView) Text(p *ui.Printer) error { return p.Printf("mutual %s\n", v.Version) }
