package pki

import "fmt"

// Kind is what a certificate is for.
type Kind string

// The kinds. A cross certificate is a new root's, signed by the root before it.
// A probe certificate is a client's that an experiment on an endpoint used;
// lists leave it out unless asked.
const (
	KindRoot    Kind = "root"
	KindIssuing Kind = "issuing"
	KindCross   Kind = "cross"
	KindClient  Kind = "client"
	KindServer  Kind = "server"
	KindProbe   Kind = "probe"
)

// ParseKind reads a kind by its name.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case KindRoot, KindIssuing, KindCross, KindClient, KindServer, KindProbe:
		return k, nil
	}
	return "", fmt.Errorf("%q is no kind of certificate: root, issuing, cross, client, server or probe", s)
}

// IsCA reports whether the kind is a certification authority's.
func (k Kind) IsCA() bool { return k == KindRoot || k == KindIssuing || k == KindCross }
