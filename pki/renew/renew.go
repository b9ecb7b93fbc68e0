// Package renew gives certificates a successor: it joins what the inventory
// records (package store) with the files that change (package bundle).
//
// A renewal is: check; put the new key on the disk; issue the new certificate
// and record that it is about to take the old one's place; replace the files;
// record that it has. Killed at any step it leaves a pair that matches, and the
// next renewal of the same certificate goes on from there.
package renew

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"mutual/pki"
	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// What a caller branches on.
var (
	ErrMoved     = errors.New("its files are not there any more")
	ErrOther     = errors.New("another certificate lies there")
	ErrNoPlace   = errors.New("nobody knows where its files lie")
	ErrNoKey     = errors.New("its key is not beside the certificate")
	ErrMismatch  = errors.New("the key does not belong to the certificate")
	ErrEncrypted = errors.New("the key is encrypted, and the new one would not be")
)

// Options say how to renew.
type Options struct {
	SameKey   bool             // the key stays
	PublicKey crypto.PublicKey // of a request: there is no key here; nil: none was given
	TTL       pki.Lifetime     // zero: as long as the old one was made for
	Grace     time.Duration    // how long the old one stays valid
	KeepOld   bool             // it is never revoked as superseded
	Force     bool             // although something has replaced it
	Forget    bool             // do not remember where the new files lie

	Place store.Place // where the pair lies; zero: where the inventory says
	Dir   string      // not empty: write new files here instead
}

// Renewer renews the certificates of a PKI.
type Renewer struct {
	PKI      *store.PKI
	Now      func() time.Time
	Generate func(keys.Algorithm) (crypto.Signer, error) // keys.Generate
}

// Result is a renewal that was done.
type Result struct {
	Old        store.Certificate
	Issued     *store.Issued
	Files      bundle.Files // what was written; Key only where it changed
	Place      bundle.Files // where all of the pair lies
	InPlace    bool         // over the old pair
	Atomic     bool         // all files changed at one instant
	Finished   bool         // an earlier run had begun it
	Superseded time.Time    // when the old one is revoked; zero: never
}

// One renews one certificate. It waits until no other process renews. After a
// certificate was issued it is not interrupted any more.
func (r *Renewer) One(ctx context.Context, f pki.Fingerprint, o Options) (*Result, error) {
	release, err := r.PKI.QueueRenewal(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	old, err := r.PKI.CheckRenew(ctx, f, o.Force)
	if err != nil {
		return nil, err
	}
	if o.Place == (store.Place{}) && o.Dir == "" {
		if o.Place, err = r.PKI.PlaceOf(ctx, f); err != nil {
			return nil, err
		}
		if o.Place == (store.Place{}) {
			return nil, fmt.Errorf("%s, serial %s: %w", old.Name, old.Serial, ErrNoPlace)
		}
	}
	der, err := r.PKI.DER(ctx, f)
	if err != nil {
		return nil, err
	}
	a := &act{Renewer: r, ctx: ctx, old: old, der: der, o: o}
	if o.Dir != "" {
		return a.elsewhere()
	}
	return a.inPlace()
}

// act is one renewal.
type act struct {
	*Renewer
	ctx context.Context
	old store.Certificate
	der []byte
	o   Options

	files bundle.Files // where the pair lies
	pair  pair         // what lies there
}

// inPlace renews over the old pair.
func (a *act) inPlace() (*Result, error) {
	var err error
	place := a.o.Place
	a.files, err = bundle.Locate(bundle.Files{Key: place.Key, Certificate: place.Certificate, Combined: place.Combined})
	if err != nil {
		return nil, moved(err)
	}
	staged, _, err := bundle.Recover(a.files)
	if err != nil {
		return nil, err
	}
	if a.pair, err = readPair(a.files); err != nil {
		return nil, err
	}
	pending, err := a.PKI.Pending(a.ctx, a.old.Fingerprint)
	if err != nil {
		return nil, err
	}
	if pending != nil {
		done, err := a.goOn(pending, staged)
		if done != nil || err != nil {
			return done, err
		}
	}
	if staged != nil { // of a renewal that issued nothing, or something else
		if err := staged.Discard(); err != nil {
			return nil, err
		}
	}
	if err := a.checkPair(); err != nil {
		return nil, err
	}
	return a.replace()
}

// goOn finishes what a killed renewal has begun, if what was asked for now is
// the same.
func (a *act) goOn(pending *store.PendingRenewal, staged *bundle.Swap) (*Result, error) {
	if bytes.Equal(a.pair.cert.Raw, pending.Certificate.Raw) { // all that lacked was to say so
		if err := a.adjust(pending); err != nil {
			return nil, err
		}
		return a.finish(&Result{Old: a.old, Issued: &pending.Issued, Files: a.files, Place: a.files, InPlace: true, Atomic: true, Finished: true})
	}
	if !bytes.Equal(a.pair.cert.Raw, a.der) || !a.o.TTL.IsZero() || pending.Place != placeOf(a.files) ||
		!a.Now().Before(pending.Certificate.NotAfter) {
		return nil, nil
	}
	public, swap := a.o.PublicKey, staged
	switch {
	case a.o.SameKey:
		public = a.pair.cert.PublicKey
	case public == nil && staged != nil:
		key, err := pemfile.Key(staged.Key(), nil)
		if err != nil {
			return nil, nil // it is made anew
		}
		public = key.Public()
	}
	if public == nil || !keys.Equal(public, pending.Certificate.PublicKey) {
		return nil, nil
	}
	if staged != nil && (a.o.SameKey || a.o.PublicKey != nil) {
		return nil, nil // its key was a new one
	}
	if swap == nil {
		var err error
		if swap, err = bundle.StageSwap(a.files, nil); err != nil {
			return nil, err
		}
	}
	if err := a.adjust(pending); err != nil {
		return nil, err
	}
	return a.commit(swap, &Result{Old: a.old, Issued: &pending.Issued, Files: a.files, Place: a.files, InPlace: true, Finished: true})
}

// adjust makes what was asked for now count, and not what the killed renewal
// was asked for.
func (a *act) adjust(pending *store.PendingRenewal) error {
	return a.PKI.AdjustRenewal(a.ctx, pending.Certificate, a.o.KeepOld, a.o.Grace, !a.o.Forget)
}

// replace makes the key where one is wanted, issues, and replaces the files.
func (a *act) replace() (*Result, error) {
	public, keyPEM, err := a.newKey()
	if err != nil {
		return nil, err
	}
	swap, err := bundle.StageSwap(a.files, keyPEM)
	if err != nil {
		return nil, err
	}
	issued, err := a.issue(public, placeOf(a.files))
	if err != nil {
		_ = swap.Discard() // the first error is the one to tell; what stays, the next renewal removes
		return nil, err
	}
	return a.commit(swap, &Result{Old: a.old, Issued: issued, Files: a.files, Place: a.files, InPlace: true})
}

// newKey gives the public key to certify and, where it was made here, the key.
func (a *act) newKey() (public crypto.PublicKey, keyPEM []byte, err error) {
	cert, err := parse(a.der)
	switch {
	case err != nil:
		return nil, nil, err
	case a.o.SameKey:
		return cert.PublicKey, nil, nil
	case a.o.PublicKey != nil:
		return a.o.PublicKey, nil, nil
	}
	algorithm, err := algorithmOf(cert.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	signer, err := a.Generate(algorithm)
	if err != nil {
		return nil, nil, fmt.Errorf("making the key: %w", err)
	}
	der, err := keys.MarshalPKCS8(signer)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key: %w", err)
	}
	return signer.Public(), pemfile.EncodeKey(der), nil
}

func (a *act) issue(public crypto.PublicKey, place store.Place) (*store.Issued, error) {
	return a.PKI.Renew(a.ctx, store.RenewRequest{
		Old: a.old.Fingerprint, PublicKey: public, TTL: a.o.TTL, Place: place, Remember: !a.o.Forget,
		Grace: a.o.Grace, KeepOld: a.o.KeepOld, Force: a.o.Force,
	})
}

// commit replaces the files by the pair of an issued certificate.
func (a *act) commit(swap *bundle.Swap, done *Result) (*Result, error) {
	var err error
	if done.Atomic, err = swap.Commit(pemfile.EncodeCertificates(done.Issued.Chain...)); err != nil {
		return nil, fmt.Errorf("the certificate %s is issued, but not in its place: %w", done.Issued.Serial, err)
	}
	if len(swap.Key()) == 0 {
		done.Files.Key = ""
	}
	return a.finish(done)
}

// finish records that the new files are in their place.
func (a *act) finish(done *Result) (*Result, error) {
	var err error
	done.Superseded, err = a.PKI.FinishRenewal(context.WithoutCancel(a.ctx), done.Issued.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s is in its place; recording that: %w", done.Issued.Serial, err)
	}
	return done, nil
}

// elsewhere renews into new files: where the old ones lie nobody knows or asks.
func (a *act) elsewhere() (*Result, error) {
	public, keyPEM, err := a.newKey()
	if err != nil {
		return nil, err
	}
	target := bundle.Target{Dir: a.o.Dir, Base: a.old.Name.FileBase(), WithKey: keyPEM != nil}
	if err := bundle.Check(target); err != nil {
		return nil, err
	}
	place, err := target.Files().Abs()
	if err != nil {
		return nil, err
	}
	pending, err := bundle.Stage(target, keyPEM)
	if err != nil {
		return nil, err
	}
	issued, err := a.issue(public, placeOf(place))
	if err != nil {
		_ = pending.Discard() // the first error is the one to tell
		return nil, err
	}
	files, err := pending.Commit(pemfile.EncodeCertificates(issued.Chain...))
	if err != nil {
		return nil, fmt.Errorf("the certificate %s is issued, but not all of it is written: %w", issued.Serial, err)
	}
	return a.finish(&Result{Old: a.old, Issued: issued, Files: files, Place: place, Atomic: true})
}

func placeOf(f bundle.Files) store.Place {
	return store.Place{Key: f.Key, Certificate: f.Certificate, Combined: f.Combined}
}
