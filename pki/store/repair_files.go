package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
)

// everyFile holds the files of the PKI, and of the directory that servers read,
// against the database.
func (a *audit) everyFile(ctx context.Context) error {
	err := a.filesOf(ctx)
	if errors.Is(err, ErrDamaged) {
		return a.damage(AreaFile, a.pki.dir, "the files cannot be held against the database: %v", err)
	}
	return err
}

func (a *audit) filesOf(ctx context.Context) error {
	settings, err := a.pki.Settings(ctx)
	if err != nil {
		return err
	}
	cas, err := caRows(ctx, a.pki.db)
	if err != nil {
		return err
	}
	dirs := a.pki.listDirs(settings.Publish)
	if err := a.certificateFiles(ctx, dirs, cas); err != nil {
		return err
	}
	if err := a.listFiles(ctx, dirs, cas); err != nil {
		return err
	}
	for _, ca := range cas {
		if err := a.keyFile(ctx, ca); err != nil {
			return err
		}
	}
	return a.temporary(dirs)
}

// wrongFile reports a file that is not what the database says.
func (a *audit) wrongFile(path, why string) error {
	a.files = true
	return a.say(AreaFile, RemedyRepair, path, "%s", why)
}

// isThere reports whether something has the name.
func (a *audit) isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// hold says how a file differs from what it should hold, or "".
func hold(path string, want []byte) string {
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is missing"
	case err != nil:
		return fmt.Sprintf("it cannot be read: %v", err)
	case !bytes.Equal(have, want):
		return "it is not what the database says"
	}
	return ""
}

func (a *audit) certificateFiles(ctx context.Context, dirs []string, cas []caRow) error {
	want := certificateFiles(cas)
	stale, err := a.pki.retiredFiles(ctx)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if why := hold(fileIn(dir, name), want[name]); why != "" {
				if err := a.wrongFile(fileIn(dir, name), why); err != nil {
					return err
				}
			}
		}
		for _, name := range stale {
			if !a.isThere(fileIn(dir, name)) {
				continue
			}
			if err := a.wrongFile(fileIn(dir, name), "it is of a CA that is retired"); err != nil {
				return err
			}
		}
	}
	return nil
}

// listFiles holds the files of the lists against the SHA-256 of what was
// signed, and each list against the revocations.
func (a *audit) listFiles(ctx context.Context, dirs []string, cas []caRow) error {
	lists, err := a.pki.CRLs(ctx)
	if err != nil {
		return err
	}
	var chain bytes.Buffer
	whole := true
	for i := range lists {
		l := &lists[i]
		if l.over(a.pki.now()) {
			whole = false // its list stands there or not
			continue
		}
		ca := cas[slices.IndexFunc(cas, func(r caRow) bool { return r.id == l.ca })]
		der := l.bytes()
		if der == nil {
			whole = false
			if err := a.lostList(ctx, l, ca); err != nil {
				return err
			}
			continue
		}
		chain.Write(pemfile.EncodeCRL(der))
		if err := a.listIn(ctx, l, der, ca, dirs); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if !whole {
			break
		}
		if why := hold(fileIn(dir, ChainPath), chain.Bytes()); why != "" {
			if err := a.wrongFile(fileIn(dir, ChainPath), why); err != nil {
				return err
			}
		}
	}
	return nil
}

// lostList reports a list that nothing holds any more, or that was never made.
func (a *audit) lostList(ctx context.Context, l *Published, ca caRow) error {
	a.files = true
	return a.say(AreaFile, a.signable(ctx, l, ca), l.Files[0], "the newest CRL of the %s is in no file, and must be signed again", l.CA())
}

func (a *audit) listIn(ctx context.Context, l *Published, der []byte, ca caRow, dirs []string) error {
	for _, dir := range dirs {
		for ext, want := range map[string][]byte{"crl": der, "pem": pemfile.EncodeCRL(der)} {
			path := fileIn(dir, crlPath(l.base, ext))
			if why := hold(path, want); why != "" {
				if err := a.wrongFile(path, why); err != nil {
					return err
				}
			}
		}
	}
	if err := a.contents(ctx, l, der, ca); err != nil || !l.Overdue {
		return err
	}
	a.files = true
	return a.say(AreaCRL, a.signable(ctx, l, ca), l.Files[0], "it lacks what has been revoked or released since it was made")
}

// keyFile looks whether the key of a CA is here and its. A root's may be
// elsewhere.
func (a *audit) keyFile(ctx context.Context, ca caRow) error {
	own := a.pki.Path(byKey(ca.role, ca.keyID) + ".key")
	if ca.newest && a.isThere(own) { // an act on the CA was killed after its commit
		a.files = true
		if err := a.say(AreaKey, RemedyRepair, own, "the key of the %s does not have its name yet", ca); err != nil {
			return err
		}
	}
	_, err := a.pki.loadFrom(ca, a.pki.keyPlaces(ca))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pemfile.ErrEncrypted):
		a.done.Unchecked = append(a.done.Unchecked, ca.String())
		return nil
	case errors.Is(err, ErrNoKey) && (ca.role == pki.KindRoot && !ca.newest || a.pki.keyHere(ca) == ""):
		if ca.role == pki.KindRoot || ca.cert.NotAfter.Before(a.pki.now()) {
			return nil
		}
		return a.say(AreaKey, RemedyRestoreKey, a.pki.Path(ca.base()+".key"), "the key of the %s is not here", ca)
	case errors.Is(err, authority.ErrKeyMismatch), errors.Is(err, ErrNoKey):
		return a.say(AreaKey, RemedyRestoreKey, a.pki.Path(ca.base()+".key"), "it is not the key of the %s", ca)
	case errors.Is(err, keys.ErrPassphrase):
		return err // nothing is known of the key
	}
	return a.say(AreaKey, RemedyRestoreKey, a.pki.Path(ca.base()+".key"), "%v", err)
}

// temporaryName matches what package durable and a backup name their temporary
// files.
var temporaryName = regexp.MustCompile(`^\..+\.([0-9a-f]{16}|db)\.tmp$`)

// temporary finds what killed commands have left beside their files: what is
// there while nobody else writes is nobody's.
func (a *audit) temporary(dirs []string) error {
	var found []string
	for _, dir := range dirs {
		for _, dir := range []string{dir, fileIn(dir, crlDir)} {
			entries, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("looking for temporary files: %w", err)
			}
			for _, e := range entries {
				if e.Type().IsRegular() && temporaryName.MatchString(e.Name()) {
					found = append(found, filepath.Join(dir, e.Name()))
				}
			}
		}
	}
	for _, path := range found {
		a.remove = append(a.remove, path)
		if err := a.say(AreaTemporary, RemedyRepair, path, "a command that was killed has left it"); err != nil {
			return err
		}
	}
	return nil
}

// mendFiles writes what the database says, makes the lists that are due, and
// removes temporary files.
func (a *audit) mendFiles(ctx context.Context) error {
	p := a.pki
	for _, path := range a.remove {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a temporary file: %w", err)
		}
	}
	if !a.files {
		return nil
	}
	_, err := p.publishAlone(ctx, publishRequest{force: a.sign, anew: a.sign})
	return err
}
