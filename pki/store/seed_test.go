package store

import (
	"bytes"
	"context"
	"crypto/sha1" // #nosec: as Complete does
	"encoding/binary"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/authority"
	"mutual/pki/keys"
)

// What TestSeed makes.
var (
	seedDir     = flag.String("seed", "", "make a large PKI in this `directory`")
	seedMany    = flag.Int("seed.certificates", 1_000_000, "how many certificates it has")
	seedRevoked = flag.Int("seed.revoked", 0, "how many of them are revoked")
)

// TestSeed makes a large PKI for measuring whole commands, when asked to:
//
//	go test ./pki/store -run TestSeed -seed DIR -seed.certificates 1000000 -seed.revoked 100000
func TestSeed(t *testing.T) {
	if *seedDir == "" {
		t.Skip("-seed is not given")
	}
	f := &fixture{t: t, dir: *seedDir, now: time.Now().UTC()}
	var err error
	f.PKI, err = Init(t.Context(), f.dir, request(), f.options())
	f.must(err)
	f.seed(*seedMany, *seedRevoked)
	_, err = f.Refresh(t.Context(), RefreshRequest{})
	f.must(err)
	f.must(f.Close())
}

// seed fills the inventory in one transaction: of ten leaves three are dev-N,
// six app-N and one is the server srv-N.example.com; they end, in the order of N
// but for one in a hundred, over the next ninety days, every thousandth has the
// label "Pixel 8", and revoked of them are out, spread evenly. The rows are what
// issuing and revoking would have left but for their lines in the journal. The
// DER is that of one certificate with another serial, so that its signature is
// not valid.
func (f *fixture) seed(many, revoked int) {
	f.t.Helper()
	f.must(seed(f.t.Context(), f.PKI, many, revoked))
}

func seed(ctx context.Context, p *PKI, many, revoked int) error {
	pattern, der, err := issuePattern(ctx, p)
	if err != nil {
		return err
	}
	at := bytes.Index(der, pattern.Serial.Octets())
	return p.update(ctx, nil, func(tx *Tx) error {
		if err := tx.exec("taking memory", `PRAGMA cache_size = -500000`); err != nil { // the pages of the indexes are hit at random
			return err
		}
		number, err := tx.append("issue", "seed", nil)
		if err != nil {
			return err
		}
		epoch, err := tx.nextEpoch("revoke", number, pattern.issuer)
		if err != nil {
			return err
		}
		for n := range many {
			s := seedling{n: n, Record: pattern.Record, der: der, serialAt: at}
			s.name(many, p.now())
			id, fingerprint, err := s.plant(tx, pattern.issuer, number)
			if err == nil && revoked > 0 && n*revoked%many < revoked {
				err = s.revoke(tx, pattern.issuer, id, fingerprint, epoch)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// issuePattern issues the certificate that the others are made of.
func issuePattern(ctx context.Context, p *PKI) (c Certificate, der []byte, err error) {
	key, err := keys.Generate(keys.P256)
	if err != nil {
		return c, nil, err
	}
	issued, err := p.Issue(ctx, IssueRequest{Kind: pki.KindClient, Name: name("pattern"), PublicKey: key.Public()})
	if err != nil {
		return c, nil, err
	}
	c, err = p.Lookup(ctx, pki.FingerprintOf(issued.Certificate.Raw))
	return c, slices.Clone(issued.Certificate.Raw), err
}

// seedling is a leaf of a large inventory.
type seedling struct {
	n int
	authority.Record
	der      []byte // changed in place
	serialAt int
}

func (s *seedling) name(many int, now time.Time) {
	s.Kind = pki.KindClient
	text := fmt.Sprintf("app-%07d", s.n)
	switch {
	case s.n%10 < 3:
		text = fmt.Sprintf("dev-%07d", s.n)
	case s.n%10 == 9:
		s.Kind, text = pki.KindServer, fmt.Sprintf("srv-%07d.example.com", s.n)
	}
	s.Name = name(text)
	if s.n%1000 == 0 {
		s.Label = "Pixel 8"
	}
	rank := s.n
	if rank%100 == 99 {
		rank = rank * 7919 % many
	}
	s.NotAfter = now.Add(time.Duration(float64(rank) / float64(many) * float64(90*24*time.Hour))).Truncate(time.Second)
	s.Issued = s.NotAfter.AddDate(0, 0, -90)
	s.NotBefore = s.Issued
	octets := s.der[s.serialAt : s.serialAt+16]
	binary.BigEndian.PutUint64(octets, uint64(s.n+1)*0x9e3779b97f4a7c15>>1|1<<62) // positive, 16 octets, at random places of the index
	binary.BigEndian.PutUint64(octets[8:], uint64(s.n))
	s.Serial, _ = pki.SerialFromOctets(octets) // plant's digest shows if it is none
}

func (s *seedling) plant(tx *Tx, issuer, number int64) (id int64, fingerprint pki.Fingerprint, err error) {
	var identity int64
	if err := tx.queryRow(`INSERT INTO identity (name, folded, created) VALUES ($1, $2, $3) RETURNING id`,
		s.Name.String(), s.Name.Folded(), s.Issued.Unix()).Scan(&identity); err != nil {
		return 0, fingerprint, err
	}
	fingerprint = pki.FingerprintOf(s.der)
	byOldHash := sha1.Sum(s.der)
	tx.count(Certificate{Record: s.Record, issuer: issuer}, +1)
	err = tx.queryRow(`INSERT INTO certificate
		(issuer, serial, identity, kind, label, not_before, not_after, issued, backdated, journal, sha256, sha1, der, digest)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id`,
		issuer, s.Serial.Octets(), identity, string(s.Kind), s.Label, s.NotBefore.Unix(), s.NotAfter.Unix(), s.Issued.Unix(), s.Backdated,
		number, fingerprint[:], byOldHash[:], s.der, recordDigest(s.Record, fingerprint)).Scan(&id)
	return id, fingerprint, err
}

func (s *seedling) revoke(tx *Tx, issuer, id int64, fingerprint pki.Fingerprint, epoch int64) error {
	return tx.putRevocation(Certificate{Record: s.Record, Fingerprint: fingerprint, id: id, issuer: issuer, epoch: epoch,
		Revocation: &authority.Revocation{Reason: pki.KeyCompromise, Done: tx.now.Truncate(time.Second)}})
}
