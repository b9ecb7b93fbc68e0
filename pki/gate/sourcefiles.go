package gate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mutual/pki"
	"mutual/pki/chain"
	"mutual/pki/crl"
	"mutual/pki/pemfile"
)

// FileSource trusts the CAs of a file, and takes revocation from lists in files
// or at URLs: for CAs of other people's, and for a gate that runs as another user
// than the PKI's owner.
type FileSource struct {
	config FileConfig
	ca     *watched
	crls   []*listFile
	state  atomic.Pointer[fileState]
	mu     sync.Mutex // of Look
	warned []string
}

// FileConfig says what a FileSource relies on.
type FileConfig struct {
	CA   string   // file of CA certificates: those that signed themselves are trusted, or all if there is none
	CRLs []string // files or URLs, together a list for each CA
	// ServeExpired goes on with lists that have expired. Who was revoked since is
	// let in.
	ServeExpired bool
	Now          func() time.Time
}

var _ Source = (*FileSource)(nil)

// maxCRL bounds a list: five million entries.
const maxCRL = 256 << 20

// listFile is one of the places of lists.
type listFile struct {
	name  string
	file  *watched // nil: at a URL
	fetch *fetcher
	lists []*crl.List
}

type fileState struct {
	anchors, intermediates []*x509.Certificate
	lists                  []*crl.List
	revocation             chain.RevocationFunc
}

// NewFileSource reads nothing yet: the first Look does.
func NewFileSource(c FileConfig) (*FileSource, error) {
	s := &FileSource{config: c, ca: &watched{path: c.CA, limit: pemfile.MaxFile}}
	if len(c.CRLs) == 0 {
		return nil, errors.New("without a revocation list nothing can be told of any certificate")
	}
	for _, name := range c.CRLs {
		l := &listFile{name: name}
		if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
			l.fetch = newFetcher(name)
		} else {
			l.file = &watched{path: name, limit: maxCRL}
		}
		s.crls = append(s.crls, l)
	}
	return s, nil
}

// Look implements Source. What is broken leaves the last good one in force, and
// is told by Warnings; only the first Look fails for it.
func (s *FileSource) Look(ctx context.Context) (Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Now()
	before := s.state.Load()
	next := fileState{}
	if before != nil {
		next = *before
	}
	changed, problems := s.reload(ctx, now, &next)
	if before == nil && len(problems) > 0 {
		return Change{}, errors.Join(problems...)
	}
	if changed {
		s.state.Store(&next)
	}
	s.warned = nil
	for _, problem := range problems {
		s.warned = append(s.warned, problem.Error()+": the last good one is in force")
	}
	s.warned = append(s.warned, missing(slices.Concat(next.anchors, next.intermediates), next.lists)...)
	s.warned = append(s.warned, ageing(next.lists, now, s.config.ServeExpired)...)
	return Change{All: changed}, nil
}

// reload reads again what has changed. A problem leaves that part as it is.
func (s *FileSource) reload(ctx context.Context, now time.Time, next *fileState) (changed bool, problems []error) {
	changed, err := s.lookAtCA(now, next)
	if err != nil {
		problems = append(problems, err)
	}
	cas := slices.Concat(next.anchors, next.intermediates)
	for _, l := range s.crls {
		new, err := l.look(ctx, now, cas)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", l.name, err))
		}
		changed = changed || new
	}
	next.lists = nil
	for _, l := range s.crls {
		next.lists = append(next.lists, l.lists...)
	}
	if changed {
		next.revocation = s.revocation(chain.CRLs{Lists: next.lists, Candidates: cas})
	}
	return changed, problems
}

// revocation answers from the lists, with ServeExpired as if the time stood still
// at the end of the newest that has expired and has an answer.
func (s *FileSource) revocation(crls chain.CRLs) chain.RevocationFunc {
	status := chain.FromCRLs(crls)
	if !s.config.ServeExpired {
		return status
	}
	return func(path []*x509.Certificate, at time.Time) chain.RevocationStatus {
		found := status(path, at)
		for end := newestEnd(crls.Lists, at); found.Outcome == chain.CouldNotTell && !end.IsZero(); end = newestEnd(crls.Lists, end) {
			found = status(path, end)
		}
		return found
	}
}

// newestEnd gives when the last list to expire before a time did, or zero.
func newestEnd(lists []*crl.List, before time.Time) (end time.Time) {
	for _, l := range lists {
		if next := l.NextUpdate(); next.Before(before) && next.After(end) {
			end = next
		}
	}
	return end
}

func (s *FileSource) lookAtCA(now time.Time, next *fileState) (bool, error) {
	data, err := s.ca.load(now)
	if err != nil {
		return false, fmt.Errorf("reading the CAs: %w", err)
	}
	if data == nil {
		return false, nil
	}
	certs, err := pemfile.Certificates(data)
	if err != nil {
		s.ca.read = false // it is told again while it is so
		return false, fmt.Errorf("reading the CAs in %s: %w", s.ca.path, err)
	}
	anchors, others, err := chain.Trusted(certs)
	if err != nil {
		s.ca.read = false // as above
		return false, fmt.Errorf("%s %w", s.ca.path, err)
	}
	next.anchors, next.intermediates = anchors, others
	return true, nil
}

// look reads the lists of a place again where they have changed.
func (l *listFile) look(ctx context.Context, now time.Time, cas []*x509.Certificate) (bool, error) {
	var data []byte
	var err error
	if l.file != nil {
		data, err = l.file.load(now)
	} else {
		data, err = l.fetch.load(ctx, now)
	}
	if data == nil || err != nil {
		return false, err
	}
	lists, err := parseLists(data, cas)
	if err == nil {
		err = notOlder(lists, l.lists, cas)
	}
	if err != nil {
		if l.file != nil {
			l.file.read = false // it is told again while it is so
		} else {
			l.fetch.reject(err)
		}
		return false, err
	}
	l.lists = lists
	return true, nil
}

// parseLists reads lists that the CAs have signed.
func parseLists(data []byte, cas []*x509.Certificate) ([]*crl.List, error) {
	ders, err := pemfile.CRLs(data)
	if err != nil {
		return nil, err
	}
	var out []*crl.List
	for _, der := range ders {
		list, err := crl.Parse(der)
		if err != nil {
			return nil, err
		}
		if err := signedByOne(list, cas); err != nil {
			return nil, fmt.Errorf("the revocation list is not to be believed: %w", err)
		}
		out = append(out, list)
	}
	return out, nil
}

// signedByOne returns nil if one of the CAs has signed a list.
func signedByOne(list *crl.List, cas []*x509.Certificate) error {
	err := errors.New("none of the CAs has its name")
	for _, ca := range cas {
		if bytes.Equal(ca.RawSubject, list.Issuer()) {
			if err = list.CheckSignature(ca); err == nil {
				return nil
			}
		}
	}
	return err
}

// notOlder refuses lists in the place of which there was a newer one, or with one
// gone: they could let in again who was revoked since. What a CA has signed that
// is trusted no more is not missed.
func notOlder(next, before []*crl.List, cas []*x509.Certificate) error {
	for _, old := range before {
		if signedByOne(old, cas) != nil {
			continue
		}
		var newest *crl.List
		for _, l := range next {
			if samePlace(l, old) && (newest == nil || !older(l, newest)) {
				newest = l
			}
		}
		switch {
		case newest == nil:
			return fmt.Errorf("the revocation list of the CA %x is gone", old.AuthorityKeyID())
		case older(newest, old):
			return fmt.Errorf("the revocation list is older than the one in force: number %s of %s after %s of %s",
				newest.Number(), newest.ThisUpdate().Format(time.RFC3339), old.Number(), old.ThisUpdate().Format(time.RFC3339))
		}
	}
	return nil
}

// samePlace reports whether one of two lists takes the place of the other: they
// are of the same key, and cover the same certificates.
func samePlace(a, b *crl.List) bool {
	return bytes.Equal(a.Issuer(), b.Issuer()) && bytes.Equal(a.AuthorityKeyID(), b.AuthorityKeyID()) && a.Scope().Equal(b.Scope())
}

// older reports whether a list is older than one in whose place it stands.
func older(l, than *crl.List) bool {
	return l.ThisUpdate().Before(than.ThisUpdate()) || l.Number() != nil && than.Number() != nil && l.Number().Cmp(than.Number()) < 0
}

// missing says of which CAs there is no list: nothing can be told of what they have
// issued.
func missing(cas []*x509.Certificate, lists []*crl.List) []string {
	var out []string
	for _, ca := range cas {
		if !slices.ContainsFunc(lists, func(l *crl.List) bool { return bytes.Equal(l.Issuer(), ca.RawSubject) }) {
			out = append(out, fmt.Sprintf("there is no revocation list of the CA %s: nobody below it is let in", oneLine(pki.DistinguishedName(ca.Subject))))
		}
	}
	return out
}

// ageing says which lists are past two thirds of their life, or over.
func ageing(lists []*crl.List, now time.Time, serve bool) []string {
	var out []string
	for _, l := range lists {
		this, next := l.ThisUpdate(), l.NextUpdate()
		switch {
		case next.IsZero() || now.Before(pki.TwoThirds(this, next)):
		case !now.After(next):
			out = append(out, fmt.Sprintf("the revocation list of the CA %x ends at %s", l.AuthorityKeyID(), next.Format(time.RFC3339)))
		case serve:
			out = append(out, fmt.Sprintf("the revocation list of the CA %x has expired (%s), and is served all the same", l.AuthorityKeyID(), next.Format(time.RFC3339)))
		default:
			out = append(out, fmt.Sprintf("the revocation list of the CA %x has expired (%s): nobody is let in", l.AuthorityKeyID(), next.Format(time.RFC3339)))
		}
	}
	return out
}

// Numbers gives the number of the list of each CA, by its key identifier in hex;
// of several that cover other certificates each, the least.
func (s *FileSource) Numbers() map[string]*big.Int {
	out := map[string]*big.Int{}
	state := s.state.Load()
	if state == nil {
		return out
	}
	for _, l := range state.lists {
		superseded := slices.ContainsFunc(state.lists, func(other *crl.List) bool { return samePlace(l, other) && older(l, other) })
		id := hex.EncodeToString(l.AuthorityKeyID())
		if n := l.Number(); n != nil && !superseded && (out[id] == nil || n.Cmp(out[id]) < 0) {
			out[id] = n
		}
	}
	return out
}

// Judge implements Source.
func (s *FileSource) Judge(_ context.Context, presented []*x509.Certificate, at time.Time) Judgement {
	j := Judgement{Identity: Identify(presented[0])}
	state := s.state.Load()
	if state == nil {
		j.Refusal = &Refusal{CodeSourceLost, "the CAs and revocation lists have not been read"}
		return j
	}
	judgeChain(&j, presented, chain.Options{At: at, Anchors: state.anchors, Intermediates: state.intermediates, Revocation: state.revocation})
	return j
}

// Issuers implements Source.
func (s *FileSource) Issuers() []*x509.Certificate {
	if state := s.state.Load(); state != nil {
		return slices.Concat(state.anchors, state.intermediates)
	}
	return nil
}

// Warnings implements Source.
func (s *FileSource) Warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.warned
}

// Close implements Source.
func (s *FileSource) Close() error {
	for _, l := range s.crls {
		if l.fetch != nil {
			l.fetch.close()
		}
	}
	return nil
}
