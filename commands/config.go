package commands

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"mutual/commands/ui"
	"mutual/pki/store"
)

func configCommand() *cli.Command {
	return leaf(leafSpec{
		Name:      "config",
		Category:  categoryBootstrapping,
		Usage:     "show or change the defaults of the PKI",
		ArgsUsage: "[KEY [VALUE]]",
		Long:      "The keys are: " + strings.Join(store.SettingNames(), ", ") + ". An empty VALUE unsets crl-url and publish. A change is written into the journal.",
		Example:   "mutual config\nmutual config ttl 30d\nmutual config publish /srv/pki",
		MaxArgs:   2,
		Complete: func(_ context.Context, _ *run, c *cli.Context) []string {
			if c.NArg() > 0 {
				return nil
			}
			return store.SettingNames()
		},
		Action: runConfig,
	})
}

// configView is some of the settings.
type configView []store.Setting

// Text implements view.
func (v configView) Text(p *ui.Printer) error {
	if len(v) == 1 {
		return p.Printf("%s\n", v[0].Value)
	}
	var fields []ui.Field
	for _, s := range v {
		value := s.Value
		if value == "" {
			value = "-"
		}
		fields = append(fields, ui.Plain.Field(s.Name, value))
	}
	return p.Fields(fields...)
}

func runConfig(ctx context.Context, r *run, c *cli.Context) error {
	key := c.Args().First()
	if c.NArg() < 2 {
		return r.reading(ctx, func(p *store.PKI) error {
			s, err := p.Settings(ctx)
			if err != nil {
				return err
			}
			return r.emitSettings(s, key)
		})
	}
	value := c.Args().Get(1)
	if key == "publish" && value != "" {
		abs, err := filepath.Abs(value)
		if err != nil {
			return err
		}
		value = abs
	}
	if err := store.CheckSetting(key, value); err != nil {
		return withHint(usage(err), "the settings are: "+strings.Join(store.SettingNames(), ", "))
	}
	return r.writing(ctx, func(p *store.PKI) error {
		before, err := p.Settings(ctx)
		if err != nil {
			return err
		}
		s, changed, err := p.Set(ctx, key, value)
		if err != nil {
			return err
		}
		if !changed {
			r.note("%s was so already", key)
		}
		if key == "publish" {
			if err := r.notePublished(ctx, p, before.Publish, s.Publish); err != nil {
				return err
			}
		}
		return r.emitSettings(s, key)
	})
}

// notePublished says what lies where servers read now, and what goes stale.
func (r *run) notePublished(ctx context.Context, p *store.PKI, before, now string) error {
	if before != "" && before != now {
		r.note("what was published in %s stays there and goes stale: remove it when no server reads it", before)
	}
	if now == "" {
		return nil
	}
	files, err := p.PublishedFiles(ctx)
	if err != nil {
		return err
	}
	r.note("published %d files in %s: %s", len(files), now, strings.Join(files, ", "))
	r.warnUnreachable(now)
	return nil
}

func (r *run) emitSettings(s store.Settings, key string) error {
	var v configView
	for _, one := range s.List() {
		if key == "" || one.Name == key {
			v = append(v, one)
		}
	}
	if len(v) == 0 {
		return withHint(usagef("there is no setting %q", key), "the settings are: "+strings.Join(store.SettingNames(), ", "))
	}
	return r.emit(v)
}
