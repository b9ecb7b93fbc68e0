package pki

import "fmt"

// Kind is what a certificate is for.
type Kind string

// The kinds. A probe certificate is a client's that an experiment on an
// endpoint used; lists leave it out unless asked.
const (
	KindRoot    Kind = "root"
	KindIssuing Kind = "issuing"
	KindClient  Kind = "client"
	KindServer  Kind = "server"
	KindProbe   Kind = "probe"
)

// ParseKind reads a kind by its name.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case KindRoot, KindIssuing, KindClient, KindServer, KindProbe:
		return k, nil
	}
	return "", fmt.Errorf("%q is no kind of certificate: root, issuing, client, server or probe", s)
}

// IsCA reports whether the kind is a certification authority's.
func (k Kind) IsCA() bool { return k == KindRoot || k == KindIssuing }
