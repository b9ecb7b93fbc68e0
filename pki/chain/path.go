package chain

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
)

// The bounds on findPaths, like those of crypto/x509: whoever sends
// intermediates must not make it search for long.
const (
	maxSteps = 100
	maxDepth = 10
	maxPaths = 16
)

// dead is where a path ended without an anchor.
type dead struct {
	path    []*x509.Certificate
	outcome Outcome
	why     string
	rank    int // of two ends the one with the larger rank tells more
}

// findPaths finds the paths from the leaf to an anchor along names and
// signatures alone, whatever else is wrong with them. It serves to say why
// crypto/x509 found no chain.
func (v *verifier) findPaths(leaf *x509.Certificate) [][]*x509.Certificate {
	var found [][]*x509.Certificate
	var walk func(path []*x509.Certificate)
	walk = func(path []*x509.Certificate) {
		if len(found) >= maxPaths || len(path) > maxDepth {
			return
		}
		last := path[len(path)-1]
		if contains(v.anchors, last) {
			found = append(found, slices.Clone(path))
			return
		}
		parents := v.parents(path)
		if len(parents) == 0 {
			v.noteEnd(dead{slices.Clone(path), Bad, unknownText(last), 0})
		}
		for _, parent := range parents {
			if v.signedBy(path, parent) {
				walk(append(slices.Clip(path), parent))
			}
		}
	}
	walk([]*x509.Certificate{leaf})
	return found
}

// parents finds who, by name, may have issued the last of the path.
func (v *verifier) parents(path []*x509.Certificate) []*x509.Certificate {
	last := path[len(path)-1]
	var out []*x509.Certificate
	for _, set := range [][]*x509.Certificate{v.anchors, v.others} {
		for _, c := range set {
			switch {
			case contains(path, c) || contains(out, c):
			case bytes.Equal(c.RawSubject, last.RawIssuer):
				out = append(out, c)
			case sameName(c.RawSubject, last.RawIssuer):
				v.noteEnd(dead{slices.Clone(path), CouldNotTell,
					"the name of its issuer is spelled otherwise than in the CA's certificate " + subjectText(c) + ", which is not supported", 2})
			}
		}
	}
	return out
}

// signedBy reports whether the parent signed the last of the path, and notes
// why not.
func (v *verifier) signedBy(path []*x509.Certificate, parent *x509.Certificate) bool {
	if v.steps++; v.steps > maxSteps {
		v.noteEnd(dead{slices.Clone(path), CouldNotTell, "there are too many possible chains", 3})
		return false
	}
	last := path[len(path)-1]
	err := last.CheckSignatureFrom(parent)
	var insecure x509.InsecureAlgorithmError
	var violation x509.ConstraintViolationError
	switch {
	case err == nil:
		return true
	case parent.PublicKeyAlgorithm == x509.DSA, errors.Is(err, x509.ErrUnsupportedAlgorithm):
		v.noteEnd(dead{slices.Clone(path), CouldNotTell, having(path, len(path)-1) + " a signature by " + last.SignatureAlgorithm.String() + ", which is not supported", 3})
	case errors.As(err, &insecure):
		v.noteEnd(dead{slices.Clone(path), Bad, having(path, len(path)-1) + " a signature by " + last.SignatureAlgorithm.String() + ", which is broken", 4})
	case errors.As(err, &violation):
		v.noteEnd(dead{slices.Clone(path), Bad, "its issuer " + subjectText(parent) + " may not sign certificates", 4})
	default:
		v.noteEnd(dead{slices.Clone(path), Bad, having(path, len(path)-1) + " a signature that is not that of " + subjectText(parent), 1})
	}
	return false
}

func (v *verifier) noteEnd(d dead) {
	if v.end == nil || d.rank > v.end.rank || d.rank == v.end.rank && len(d.path) > len(v.end.path) {
		v.end = &d
	}
}

func unknownText(c *x509.Certificate) string {
	if bytes.Equal(c.RawSubject, c.RawIssuer) {
		return "signed by itself and not trusted: " + subjectText(c)
	}
	return "signed by an unknown CA: issuer " + nameText(c.Issuer)
}

// deadEnd judges a leaf from which no path leads to an anchor: what can be
// said of it without one, and where the paths end.
func (v *verifier) deadEnd(leaf *x509.Certificate, refused error) Result {
	end := v.end
	if end == nil {
		end = &dead{[]*x509.Certificate{leaf}, CouldNotTell, "no chain was found: " + oneLine(refused.Error()), 0}
	}
	r := newResult(end.path)
	r.set(CheckChain, end.outcome, "%s", end.why)
	judgeValidity(r, end.path[:1], v.At)
	judgePurpose(r, leaf, v.Purpose)
	r.describe(CheckValidity, "valid until %s", timeText(leaf.NotAfter))
	r.describe(CheckPurpose, "%s", purposeText(v.Purpose))
	r.set(CheckRevocation, CouldNotTell, "not looked for, without a chain to a trust anchor")
	r.conclude()
	return *r
}

func contains(certs []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(certs, c.Equal)
}
