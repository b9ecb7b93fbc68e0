package batch

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"

	"mutual/pki/bundle"
	"mutual/pki/keys"
	"mutual/pki/pemfile"
	"mutual/pki/store"
)

// row is a row on its way. What is wrong with it is in err, and its key is gone.
type row struct {
	record
	name      string
	candidate *store.Candidate
	pair      bundle.Pair
	cert      *x509.Certificate // once it is committed
	broken    error             // not the row's fault: its key could not be written
}

// prepare does with the rows of a portion what needs no other row.
func (b *batch) prepare(ctx context.Context, r *rows) {
	defer close(r.ready)
	for _, row := range r.all {
		if ctx.Err() != nil {
			return
		}
		if row.err == nil {
			row.err = b.prepareRow(row)
		}
		row.text = nil
	}
}

func (b *batch) prepareRow(r *row) error {
	asked, err := b.in.parse(r.text)
	r.name = asked.Name
	if err != nil {
		return err
	}
	req, err := asked.request(b.options.Defaults)
	if err != nil {
		return err
	}
	r.pair.Base = req.Name.FileBase()
	if b.options.Remember {
		files, err := b.out.Files(r.pair.Base).Abs()
		if err != nil {
			return err
		}
		req.Place = store.Place{Key: files.Key, Certificate: files.Certificate}
	}
	r.candidate, err = b.store.Prepare(req, func() (crypto.PublicKey, error) { return r.newKey(b.options.KeyType) })
	if err == nil {
		r.broken = b.out.Stage(&r.pair)
	}
	return err
}

func (r *row) newKey(algorithm keys.Algorithm) (crypto.PublicKey, error) {
	signer, err := keys.Generate(algorithm)
	if err != nil {
		return nil, fmt.Errorf("making the key: %w", err)
	}
	der, err := keys.MarshalPKCS8(signer)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	r.pair.Key = pemfile.EncodeKey(der)
	return signer.Public(), nil
}

// result says what came of the row.
func (r *row) result(out Output) Result {
	done := Result{Line: r.line, Name: r.name, Err: r.err}
	if r.err == nil {
		done.Err = r.pair.Err
	}
	if r.cert == nil {
		return done
	}
	done.Serial, done.NotAfter, done.Clipped = r.candidate.Serial, r.cert.NotAfter, r.candidate.Clipped
	if done.Err == nil {
		done.Files = out.Files(r.pair.Base)
	}
	return done
}
