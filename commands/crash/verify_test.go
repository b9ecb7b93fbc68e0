//go:build linux && amd64

package crash

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mutual/pki"
	"mutual/pki/crl"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// state is what a PKI knows, read in this process.
type state struct {
	certs  map[pki.Fingerprint]store.Certificate
	listed map[pki.Fingerprint]bool // is on its issuer's list in the file
	lists  map[string]listState     // by the CA's key
	head   int64
}

type listState struct {
	number     *big.Int // in the database
	thisUpdate time.Time
	inFile     *big.Int // in the file; nil: there is none
}

// read reads the state of a PKI that is open.
func read(ctx context.Context, p *store.PKI) (*state, error) {
	s := &state{certs: map[pki.Fingerprint]store.Certificate{}, listed: map[pki.Fingerprint]bool{}, lists: map[string]listState{}}
	serials := map[string]bool{}
	err := p.List(ctx, store.Filter{All: true}, func(c store.Certificate) error {
		key := string(c.IssuerKeyID) + "/" + c.Serial.String()
		if serials[key] {
			return fmt.Errorf("the serial %s is there twice", c.Serial)
		}
		serials[key] = true
		s.certs[c.Fingerprint] = c
		return nil
	})
	if err != nil {
		return nil, err
	}
	head, err := p.Head(ctx)
	if err != nil {
		return nil, err
	}
	s.head = head.Number
	lists, err := p.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range lists {
		known := listState{number: l.Number, thisUpdate: l.ThisUpdate}
		list, err := listIn(l.Files[0])
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case hex.EncodeToString(list.AuthorityKeyID()) != l.KeyID: // of the CA before, whose file it was until the fault
		default:
			known.inFile = list.Number()
			for f, c := range s.certs {
				if _, ok := list.Lookup(c.Serial); ok {
					s.listed[f] = true
				}
			}
		}
		s.lists[l.Key] = known
	}
	return s, nil
}

func listIn(path string) (*crl.List, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := crl.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// goesOn says what a later state has lost of an earlier one. undoes is the name
// whose revocation may have ended.
func (s *state) goesOn(after *state, undoes string) error {
	for f, c := range s.certs {
		now, ok := after.certs[f]
		switch {
		case !ok:
			return fmt.Errorf("the certificate %s of %s is gone", c.Serial, c.Name)
		case c.Revocation != nil && now.Revocation == nil && c.Name.String() != undoes:
			return fmt.Errorf("the certificate %s of %s is not revoked any more", c.Serial, c.Name)
		}
	}
	if after.head < s.head {
		return fmt.Errorf("the journal ends at line %d, and did at %d", after.head, s.head)
	}
	for key, l := range s.lists {
		now, ok := after.lists[key]
		switch {
		case !ok, l.number == nil: // retired, or not made yet
		case now.number == nil:
			return fmt.Errorf("the list %s is forgotten", l.number)
		case now.number.Cmp(l.number) < 0 || now.thisUpdate.Before(l.thisUpdate):
			return fmt.Errorf("the list went back from %s, %s to %s, %s", l.number, l.thisUpdate, now.number, now.thisUpdate)
		case l.inFile != nil && (now.inFile == nil || now.inFile.Cmp(l.inFile) < 0) && len(after.lists) == len(s.lists):
			return fmt.Errorf("the list in the file went back from %s to %s", l.inFile, now.inFile)
		case now.inFile != nil && now.inFile.Cmp(now.number) > 0 && len(after.lists) == len(s.lists):
			return fmt.Errorf("the list in the file has number %s, and the database knows %s", now.inFile, now.number)
		}
	}
	return nil
}

// verify looks at what a killed, failed or finished command has left. It gives
// the state that it found before it went on with the PKI.
func (w *world) verify(s scenario, before *state, a attempt) (*state, error) {
	if err := w.checkFiles(s.apart); err != nil {
		return nil, err
	}
	place := s.place()
	reported := a.code == 0 || isWhole(a.stdout) && a.code != 4 // with 4 the list is not out
	if _, err := os.Lstat(w.path(place)); errors.Is(err, fs.ErrNotExist) {
		if reported || s.pki == "" {
			return nil, fmt.Errorf("the PKI %s is not there", place)
		}
		return nil, w.goOnWith(s) // it is made whole or not at all
	}
	p, err := w.open(place)
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }() // only to tidy up
	after, err := read(w.t.Context(), p)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if err := before.goesOn(after, s.undoes); err != nil {
			return nil, err
		}
	}
	if reported && s.done != nil {
		if err := s.done(w, after); err != nil {
			return nil, fmt.Errorf("it said that it was done: %w", err)
		}
	}
	if err := w.checkKnown(after); err != nil {
		return nil, err
	}
	if s.apart {
		if err := w.checkKeys(p, after); err != nil {
			return nil, err
		}
	}
	if err := w.goOn(p, s, after, a); err != nil {
		return after, err
	}
	return after, w.goOnWith(s)
}

// goOnWith runs what somebody does next.
func (w *world) goOnWith(s scenario) error {
	for _, args := range s.next {
		cmd := w.command(args...)
		if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 3 {
			return fmt.Errorf("then, mutual %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	if s.next == nil {
		return nil
	}
	hidden, err := filepath.Glob(w.path("certs/.*"))
	if err == nil && len(hidden) > 0 {
		err = fmt.Errorf("the next command has left %v", hidden)
	}
	return err
}

// isWhole reports whether a result was printed to its end.
func isWhole(stdout string) bool {
	return strings.HasSuffix(stdout, "}\n") || strings.HasSuffix(stdout, "]\n")
}

// goOn does what the next commands do: the journal holds, the next lists have
// all that is revoked, and nothing is wrong but temporary files, which a repair
// removes.
func (w *world) goOn(p *store.PKI, s scenario, after *state, a attempt) error {
	ctx := w.t.Context()
	if _, _, err := p.VerifyJournal(ctx, nil); err != nil {
		return err
	}
	allowed := []store.Area{store.AreaTemporary, store.AreaFile, store.AreaCRL, store.AreaKey}
	if a.code == 0 && s.pki == "" && !strings.Contains(a.stderr, "mutual: warning: ") { // what is done on the side fails with a warning
		allowed = allowed[:1]
	}
	if err := w.audit(p, true, allowed...); err != nil {
		return fmt.Errorf("before the next command: %w", err)
	}
	if _, err := p.Refresh(ctx, store.RefreshRequest{}); err != nil {
		return fmt.Errorf("refreshing: %w", err)
	}
	next, err := read(ctx, p)
	if err != nil {
		return err
	}
	if err := after.goesOn(next, ""); err != nil {
		return fmt.Errorf("after refreshing: %w", err)
	}
	if err := next.everyoneListed(); err != nil {
		return err
	}
	if err := w.audit(p, false, store.AreaTemporary); err != nil {
		return fmt.Errorf("after refreshing: %w", err)
	}
	if err := w.audit(p, true); err != nil {
		return fmt.Errorf("after repairing: %w", err)
	}
	return nil
}

// everyoneListed: whoever is revoked is on the list, and nobody else.
func (s *state) everyoneListed() error {
	for f, c := range s.certs {
		if revoked := c.Revocation != nil; !c.Retired && revoked != s.listed[f] && c.NotAfter.After(time.Now()) {
			return fmt.Errorf("%s is revoked: %v, and on the list: %v", c.Name, revoked, s.listed[f])
		}
	}
	return nil
}

// audit runs repair and refuses what it finds outside the areas.
func (w *world) audit(p *store.PKI, check bool, allowed ...store.Area) error {
	var wrong []error
	_, err := p.Repair(w.t.Context(), store.RepairRequest{Check: check}, func(f store.Finding) error {
		if !slices.Contains(allowed, f.Area) || f.Remedy != store.RemedyRepair {
			wrong = append(wrong, fmt.Errorf("%s: %s: %s (%s)", f.Area, f.Subject, f.Problem, f.Remedy))
		}
		return nil
	})
	return errors.Join(append(wrong, err)...)
}

// checkFiles: no file has its name and half of its content, and a key and a
// certificate of one name belong together.
func (w *world) checkFiles(apart bool) error {
	return filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() {
			return nil
		}
		if err := checkFile(path, apart); err != nil {
			return fmt.Errorf("%s is not whole: %w", path, err)
		}
		return nil
	})
}

func checkFile(path string, apart bool) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(path, filepath.Ext(path))
	switch filepath.Ext(path) {
	case ".key":
		key, err := pemfile.Key(data, nil)
		if errors.Is(err, pemfile.ErrEncrypted) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := os.Stat(base + ".crt"); err != nil || isCA(path) || apart {
			return nil
		}
		return belongs(key, base+".crt")
	case ".crt":
		_, err := pemfile.Certificates(data)
		return err
	case ".crl":
		_, err := crl.Parse(data)
		return err
	case ".pem":
		items, err := pemfile.Parse(data)
		if err == nil && len(items) == 0 {
			return errors.New("it is empty")
		}
		return err
	case ".p12":
		return checkDER(data)
	}
	return nil
}

// isCA: the files of CA keys are held against the database by repair.
func isCA(path string) bool {
	name := filepath.Base(path)
	return strings.HasPrefix(name, "root") || strings.HasPrefix(name, "issuing")
}

// checkKeys: every key that lies somewhere has a certificate in the inventory.
func (w *world) checkKeys(p *store.PKI, after *state) error {
	known := map[string]bool{}
	for f := range after.certs {
		der, err := p.DER(w.t.Context(), f)
		if err != nil {
			return err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		known[string(cert.RawSubjectPublicKeyInfo)] = true
	}
	paths, err := filepath.Glob(w.path("*/*.key"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := pemfile.Key(data, nil)
		if err != nil {
			return err
		}
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return err
		}
		if !known[string(public)] {
			return fmt.Errorf("no certificate of the inventory belongs to %s", path)
		}
	}
	return nil
}

func belongs(key crypto.Signer, certificate string) error {
	data, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	certs, err := pemfile.Certificates(data)
	if err != nil {
		return err
	}
	if !keys.Equal(certs[0].PublicKey, key.Public()) {
		return errors.New("key and certificate do not belong together")
	}
	return nil
}

// checkDER: the length that stands at the beginning is the file's.
func checkDER(data []byte) error {
	if len(data) < 4 || data[0] != 0x30 || data[1] != 0x82 || int(data[2])<<8|int(data[3]) != len(data)-4 {
		return fmt.Errorf("%d octets are not what it begins with", len(data))
	}
	return nil
}

// checkKnown: what lies in a certificate file is in the inventory, and no
// serial is in two certificates.
func (w *world) checkKnown(after *state) error {
	bySerial := map[pki.Serial]pki.Fingerprint{}
	paths, err := filepath.Glob(w.path("*/*.crt"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if isCA(path) || filepath.Base(path) == "ca.crt" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		certs, err := pemfile.Certificates(data)
		if err != nil {
			return err
		}
		f, serial := pki.FingerprintOf(certs[0].Raw), pki.NewSerial(certs[0].SerialNumber)
		if other, ok := bySerial[serial]; ok && other != f {
			return fmt.Errorf("the serial %s is in two certificates", serial)
		}
		bySerial[serial] = f
		if _, ok := after.certs[f]; !ok && !strings.Contains(path, "/unknown/") {
			return fmt.Errorf("the certificate in %s is not in the inventory", path)
		}
	}
	return nil
}
