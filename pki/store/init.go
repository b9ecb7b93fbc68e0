package store

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/internal/durable"
	"mutual/pki/keys"
	"mutual/pki/profile"
)

// InitRequest is what a new PKI should be.
type InitRequest struct {
	Name        string // stands in the CA names
	RootTTL     pki.Lifetime
	IssuingTTL  pki.Lifetime
	KeyType     keys.Algorithm // of the CA keys
	Constraints profile.Constraints
	Settings    Settings
	Passphrase  []byte // empty: the CA keys are not encrypted
	RootKeyOut  string // where the root's key goes; empty: into the PKI
}

// Init creates a PKI: root, issuing CA, database, and both CRLs, empty. It is
// made beside its place and renamed, so that a killed Init leaves nothing
// there. ErrExists says that there is something already.
func Init(ctx context.Context, dir string, req InitRequest, opts Options) (*PKI, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("creating the PKI: %w", err)
	}
	if place, err := filepath.EvalSymlinks(dir); err == nil {
		dir = place // what a link leads to is replaced, and not the link
	}
	if err := checkInit(dir, req.RootKeyOut); err != nil {
		return nil, err
	}
	if err := checkPublishDir(req.Settings.Publish, dir, nil); err != nil {
		return nil, err
	}
	undo, err := makeParents(dir)
	if err != nil {
		return nil, fmt.Errorf("creating the PKI: %w", err)
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*.tmp") // 0700
	if err != nil {
		undo()
		return nil, fmt.Errorf("creating the PKI: %w", err)
	}
	n := initialiser{dir: made, undo: undo, req: req, opts: opts}
	if err := n.run(ctx); err != nil {
		return nil, n.discard(err)
	}
	if err := n.moveTo(dir); err != nil {
		return nil, n.discard(err)
	}
	return Open(ctx, dir, opts)
}

// checkInit looks, before any key is made, whether the places are free.
func checkInit(dir, rootKeyOut string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("creating the PKI: %w", err)
	case len(entries) > 0:
		if _, err := os.Stat(filepath.Join(dir, dbFile)); err == nil {
			return fmt.Errorf("%w in %s", ErrExists, dir)
		}
		return fmt.Errorf("creating the PKI: %s is not empty: %w", dir, fs.ErrExist)
	default:
		if here, err := os.Getwd(); err == nil && here == dir {
			return fmt.Errorf("creating the PKI: %s is the working directory, and a PKI replaces the directory that it is made in", dir)
		}
	}
	if rootKeyOut == "" {
		return nil
	}
	if _, err := os.Lstat(rootKeyOut); err == nil {
		return fmt.Errorf("writing the root's key: %s: %w", rootKeyOut, fs.ErrExist)
	}
	return nil
}

// initialiser builds a PKI in its temporary directory.
type initialiser struct {
	dir     string
	undo    func() // removes the directories above it that were made
	req     InitRequest
	opts    Options
	rootKey *durable.Staged // beside its place where that is elsewhere, else nil
}

// discard gives up a PKI that does not come to be.
func (n *initialiser) discard(why error) error {
	if n.rootKey != nil {
		_ = n.rootKey.Discard() // the first error is the one to report
	}
	_ = os.RemoveAll(n.dir) // as well
	n.undo()
	return why
}

// makeParents creates what is missing above a path. undo removes it again where
// nothing else has come into it.
func makeParents(path string) (undo func(), err error) {
	var missing []string
	for d := filepath.Dir(path); d != filepath.Dir(d); d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, d)
	}
	undo = func() {
		for _, d := range missing {
			_ = os.Remove(d) // fails for what is in use
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

func (n *initialiser) run(ctx context.Context) error {
	rootKey, err := keys.Generate(n.req.KeyType)
	if err != nil {
		return fmt.Errorf("making the root's key: %w", err)
	}
	issuingKey, err := keys.Generate(n.req.KeyType)
	if err != nil {
		return fmt.Errorf("making the issuing CA's key: %w", err)
	}
	if err := n.writeKeys(rootKey, issuingKey); err != nil {
		return err
	}
	p, err := createDatabase(ctx, n.dir, n.opts)
	if err != nil {
		return err
	}
	defer func() { _ = p.db.Close() }() // closed with its error below
	if err := p.update(ctx, nil, func(t *Tx) error { return n.record(t, rootKey, issuingKey) }); err != nil {
		return err
	}
	lists, err := p.publish(ctx, publishRequest{force: true, private: true})
	if err != nil {
		return err
	}
	if n.req.Settings.Publish != "" {
		if err := p.copyTo(ctx, n.req.Settings.Publish, lists); err != nil {
			return err
		}
	}
	return p.Close()
}

func (n *initialiser) writeKeys(rootKey, issuingKey crypto.Signer) error {
	rootPEM, err := encodeKey(rootKey, n.req.Passphrase)
	if err != nil {
		return fmt.Errorf("encoding the root's key: %w", err)
	}
	issuingPEM, err := encodeKey(issuingKey, n.req.Passphrase)
	if err != nil {
		return fmt.Errorf("encoding the issuing CA's key: %w", err)
	}
	if n.req.RootKeyOut == "" {
		err = durable.WriteFile(filepath.Join(n.dir, keyFile(pki.KindRoot)), rootPEM, 0o600)
	} else if n.rootKey, err = durable.Stage(n.req.RootKeyOut, rootPEM, 0o600); err != nil {
		err = fmt.Errorf("writing the root's key: %w", err)
	}
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(n.dir, crlDir), 0o755); err != nil {
		return fmt.Errorf("creating the PKI: %w", err)
	}
	return durable.WriteFile(filepath.Join(n.dir, keyFile(pki.KindIssuing)), issuingPEM, 0o600)
}

// record writes settings, both CA keys and both CA certificates.
func (n *initialiser) record(t *Tx, rootKey, issuingKey crypto.Signer) error {
	for _, s := range n.req.Settings.List() {
		if err := t.putSetting(s.Name, s.Value); err != nil {
			return err
		}
	}
	rootWindow, issuingWindow := profile.Window{TTL: n.req.RootTTL}, profile.Window{TTL: n.req.IssuingTTL}
	root, err := n.certify(t, pki.KindRoot, rootKey, nil, rootWindow)
	if err != nil {
		return err
	}
	issuing, err := n.certify(t, pki.KindIssuing, issuingKey, root, issuingWindow)
	if err != nil {
		return err
	}
	t.signer = issuing
	_, err = t.append("init", n.req.Name, map[string]any{
		"root": pki.FingerprintOf(root.Certificate().Raw), "issuing": pki.FingerprintOf(issuing.Certificate().Raw),
	})
	return err
}

// certify issues the certificate of a CA key; by is nil for the root.
func (n *initialiser) certify(t *Tx, role pki.Kind, key crypto.Signer, by *authority.CA, window profile.Window) (*authority.CA, error) {
	keyID, err := keys.KeyID(key.Public())
	if err != nil {
		return nil, err
	}
	id, err := t.addCA(role, keyID)
	if err != nil {
		return nil, err
	}
	var issuer *x509.Certificate
	if by != nil {
		issuer = by.Certificate()
	}
	validity, err := window.Resolve(role, issuer, t.now)
	if err != nil {
		return nil, err
	}
	req := profile.Request{Kind: role, PublicKey: key.Public(), Validity: validity,
		Subject: profile.Subject{CommonName: caName(n.req, role, keyID)}}
	if role == pki.KindIssuing {
		req.Constraints = n.req.Constraints
	}
	prepared, err := n.prepare(req, key, by, t)
	if err != nil {
		return nil, err
	}
	cert, err := prepared.Issue(t)
	if err != nil {
		return nil, err
	}
	ca, err := authority.NewCA(cert, key)
	if err != nil {
		return nil, err
	}
	t.pki.cas.keep(id, ca)
	return ca, t.belongsTo(cert, id)
}

func (n *initialiser) prepare(req profile.Request, key crypto.Signer, by *authority.CA, t *Tx) (*authority.Prepared, error) {
	who, err := newSerial()
	if err != nil {
		return nil, err
	}
	if by == nil {
		return authority.PrepareRoot(req, key, who, t.now)
	}
	return by.Prepare(req, who, t.now)
}

// MaxCAName is how long the name of a PKI may be, so that what is added to it
// still fits a common name.
const MaxCAName = maxCommonName - len(" TEST Issuing CA 01234567")

// moveTo gives the PKI its place. The root's key that goes elsewhere is out
// before, so that no crash can lose it.
func (n *initialiser) moveTo(dir string) error {
	if n.rootKey != nil {
		if err := n.rootKey.Create(); err != nil {
			return fmt.Errorf("writing the root's key: %w", err)
		}
	}
	if err := replaceEmptyDir(n.dir, dir); err != nil {
		if n.rootKey != nil {
			_ = os.Remove(n.req.RootKeyOut) // the key of a PKI that does not exist
		}
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w in %s", ErrExists, dir)
		}
		return fmt.Errorf("creating the PKI: %w", err)
	}
	return durable.SyncDir(filepath.Dir(dir))
}

// replaceEmptyDir renames a directory to a name that is free or an empty
// directory's. Whatever is not empty stays, and is fs.ErrExist.
func replaceEmptyDir(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if entries, readErr := os.ReadDir(to); readErr == nil && len(entries) == 0 {
			return err // as for a place where a file system is mounted
		}
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// createDatabase makes the database with its schema.
func createDatabase(ctx context.Context, dir string, opts Options) (*PKI, error) {
	f, err := os.OpenFile(filepath.Join(dir, dbFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("creating the database: %w", err)
	}
	p, err := open(dir, opts)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{"PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE;" + schema + strings.Join(migrations(), "") + fmt.Sprintf("PRAGMA user_version = %d; COMMIT", schemaVersion)} {
		if _, err := p.db.ExecContext(ctx, statement); err != nil {
			_ = p.db.Close() // the first error is the one to report
			return nil, wrap("creating the database", err)
		}
	}
	return p, nil
}
