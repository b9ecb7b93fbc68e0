package chain

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"mutual/pki/crl"
	"mutual/pki/keys"
)

// What of PKITS is not supported, in words of the reason.
const (
	noDSA        = "DSA"
	noFolding    = "spelled otherwise"
	noCRLKey     = "revocation list"
	noSelfIssued = "too many intermediates"
	noDN         = "the critical extension 2.5.29.30, which is not supported"
	noHostForm   = "is excluded by constraint"
	noRelative   = "invalid CRL distribution point"
	noReasons    = "onlySomeReasons"
	noIndirect   = "indirect"
	noCRLIssuer  = "(cRLIssuer), which is not supported"
	noDelta      = "it is a delta list"
)

// pkitsHold is the one valid case that is bad: a full list has it on hold, and
// only the delta list, which is not read, takes it off.
const pkitsHold = "4.15.5 Valid delta-CRL Test5"

// pkitsNotGood are the valid cases that are not good, with a part of the
// reason. But for pkitsHold, all are things that we do not support, and come
// out as such.
var pkitsNotGood = map[string]string{
	"4.1.4 Valid DSA Signatures Test4":                                noDSA,
	"4.1.5 Valid DSA Parameter Inheritance Test5":                     noDSA,
	"4.3.3 Valid Name Chaining Whitespace Test3":                      noFolding,
	"4.3.4 Valid Name Chaining Whitespace Test4":                      noFolding,
	"4.3.5 Valid Name Chaining Capitalization Test5":                  noFolding,
	"4.3.10 Valid Rollover from PrintableString to UTF8String Test10": noFolding,
	"4.3.11 Valid UTF8String Case Insensitive Match Test11":           noFolding,
	"4.4.19 Valid Separate Certificate and CRL Keys Test19":           noCRLKey,
	"4.5.6 Valid Basic Self-Issued CRL Signing Key Test6":             noCRLKey,
	"4.6.15 Valid Self-Issued pathLenConstraint Test15":               noSelfIssued,
	"4.6.17 Valid Self-Issued pathLenConstraint Test17":               noSelfIssued,
	"4.13.1 Valid DN nameConstraints Test1":                           noDN,
	"4.13.4 Valid DN nameConstraints Test4":                           noDN,
	"4.13.5 Valid DN nameConstraints Test5":                           noDN,
	"4.13.6 Valid DN nameConstraints Test6":                           noDN,
	"4.13.11 Valid DN nameConstraints Test11":                         noDN,
	"4.13.14 Valid DN nameConstraints Test14":                         noDN,
	"4.13.18 Valid DN nameConstraints Test18":                         noDN,
	"4.13.19 Valid Self-Issued DN nameConstraints Test19":             noDN,
	"4.13.27 Valid DN and RFC822 nameConstraints Test27":              noDN,
	"4.13.25 Valid RFC822 nameConstraints Test25":                     noHostForm,
	"4.13.36 Valid URI nameConstraints Test36":                        noHostForm,
	"4.14.4 Valid distributionPoint Test4":                            noRelative,
	"4.14.5 Valid distributionPoint Test5":                            noRelative,
	"4.14.18 Valid onlySomeReasons Test18":                            noReasons,
	"4.14.19 Valid onlySomeReasons Test19":                            noReasons,
	"4.14.22 Valid IDP with indirectCRL Test22":                       noIndirect,
	"4.14.24 Valid IDP with indirectCRL Test24":                       noCRLIssuer,
	"4.14.25 Valid IDP with indirectCRL Test25":                       noCRLIssuer,
	"4.14.28 Valid cRLIssuer Test28":                                  noCRLIssuer,
	"4.14.29 Valid cRLIssuer Test29":                                  noRelative,
	"4.14.30 Valid cRLIssuer Test30":                                  noCRLIssuer,
	"4.14.33 Valid cRLIssuer Test33":                                  noCRLIssuer,
	"4.15.2 Valid delta-CRL Test2":                                    noDelta,
	pkitsHold:                                                         "certificateHold",
	"4.15.7 Valid delta-CRL Test7":                                    noDelta,
	"4.15.8 Valid delta-CRL Test8":                                    noDelta,
}

func (c pkitsCase) restrictsPolicies() bool {
	return c.InitialExplicitPolicy || c.InitialPolicyMappingInhibit || c.InitialAnyPolicyInhibit
}

// askPolicies puts the inputs of RFC 5280, Section 6.1.1 (e) to (g), which
// Options does not have, the way an operator does: a new anchor certifies the
// key of the old one, with the constraints wanted.
func askPolicies(t *testing.T, c pkitsCase, o *Options, lists *CRLs) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	old := o.Anchors[0]
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Question"}, SubjectKeyId: id,
		NotBefore: o.At.AddDate(-1, 0, 0), NotAfter: o.At.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	anchor := mustCert(t, mustIssue(t, template, template, key.Public(), key))
	cross := *template
	cross.SerialNumber, cross.RawSubject, cross.SubjectKeyId = big.NewInt(2), old.RawSubject, old.SubjectKeyId
	cross.Policies = []x509.OID{pkitsPolicy(t, "anyPolicy")}
	cross.ExtraExtensions = c.policyExtensions()
	crossed := mustCert(t, mustIssue(t, &cross, anchor, old.PublicKey, key))
	list, err := crl.Create(crl.Template{
		Issuer: anchor.RawSubject, AuthorityKeyID: id, Number: big.NewInt(1),
		ThisUpdate: o.At.Add(-time.Hour), NextUpdate: o.At.Add(time.Hour),
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := lists.Add(list); err != nil {
		t.Fatal(err)
	}
	o.Anchors = []*x509.Certificate{anchor}
	o.Intermediates = append(slices.Clone(o.Intermediates), crossed)
}

// policyExtensions gives policyConstraints and inhibitAnyPolicy (RFC 5280,
// Sections 4.2.1.11 and 4.2.1.14) that begin with the next certificate.
func (c pkitsCase) policyExtensions() []pkix.Extension {
	var constraints []byte
	if c.InitialExplicitPolicy {
		constraints = append(constraints, 0x80, 1, 0)
	}
	if c.InitialPolicyMappingInhibit {
		constraints = append(constraints, 0x81, 1, 0)
	}
	var out []pkix.Extension
	if constraints != nil {
		value := append([]byte{0x30, byte(len(constraints))}, constraints...)
		out = append(out, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: value})
	}
	if c.InitialAnyPolicyInhibit {
		out = append(out, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 54}, Critical: true, Value: []byte{2, 1, 0}})
	}
	return out
}

func pkitsPolicy(t *testing.T, name string) x509.OID {
	t.Helper()
	arcs := map[string][]uint64{"anyPolicy": {2, 5, 29, 32, 0}}
	for i, n := range []string{"NIST-test-policy-1", "NIST-test-policy-2", "NIST-test-policy-3", "", "", "NIST-test-policy-6"} {
		arcs[n] = []uint64{2, 16, 840, 1, 101, 3, 2, 1, 48, uint64(i + 1)}
	}
	oid, err := x509.OIDFromInts(arcs[name])
	if err != nil || len(arcs[name]) == 0 {
		t.Fatalf("the policy %q: %v", name, err)
	}
	return oid
}

func mustIssue(t testing.TB, template, parent *x509.Certificate, public any, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(nil, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
