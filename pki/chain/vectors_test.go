package chain

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// vectorFiles returns the files of a suite below $MUTUAL_VECTORS. Without the
// variable the test is skipped; with it a missing suite is a failure.
func vectorFiles(t *testing.T, pattern string) []string {
	t.Helper()
	root, set := os.LookupEnv("MUTUAL_VECTORS")
	if !set {
		t.Skip("MUTUAL_VECTORS is not set")
	}
	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("there is no %s in %s", pattern, root)
	}
	return files
}

func readVector(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustCert(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// boringInvalid are the vectors named invalid_ of which the list is well
// formed: what is wrong is the CA or the leaf.
var boringInvalid = map[string]string{
	"invalid_issuer_keyusage_no_crlsign":              "no cRLSign",
	"invalid_key_rollover_issuer_keyusage_no_crlsign": "is not signed by it",
	"invalid_idp_onlycontainsusercerts_v1_leaf":       "covers only certificates of end entities",
}

// The suite of BoringSSL's crl_unittest asks of the first certificate whether
// the list says that it is revoked, so it is put to the RevocationFunc: the
// certificates have RSA keys of 1024 bits and the subject is sometimes a CA,
// which Verify would not let pass. MaxAge is that of the suite; the lists
// have no number, and some no nextUpdate.
func TestBoringSSLVectors(t *testing.T) {
	files := vectorFiles(t, "boringssl-crl/*.pem")
	if len(files) != 66 {
		t.Fatalf("there are %d vectors, want 66", len(files))
	}
	at := time.Date(2017, 3, 9, 0, 0, 0, 0, time.UTC)
	count := map[string]int{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".pem")
		verdict, _, _ := strings.Cut(name, "_")
		count[verdict]++
		t.Run(name, func(t *testing.T) { boringCase(t, file, name, verdict, at) })
	}
	for verdict, want := range map[string]int{"good": 16, "revoked": 5, "bad": 16, "invalid": 29} {
		if count[verdict] != want {
			t.Errorf("there are %d vectors named %s, want %d", count[verdict], verdict, want)
		}
	}
}

func boringCase(t *testing.T, file, name, verdict string, at time.Time) {
	blocks := map[string][]byte{}
	for rest := readVector(t, file); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks[block.Type] = block.Bytes
	}
	path := []*x509.Certificate{mustCert(t, blocks["CERTIFICATE"]), mustCert(t, blocks["CA CERTIFICATE"])}
	if second := blocks["CA CERTIFICATE 2"]; second != nil {
		path = append(path, mustCert(t, second))
	}
	lists := CRLs{MaxAge: 7 * 24 * time.Hour, AllowIncomplete: true}
	err := lists.Add(blocks["CRL"])
	why, wellFormed := boringInvalid[name]
	if verdict == "invalid" && !wellFormed {
		if err == nil {
			t.Error("the list is accepted")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	status := FromCRLs(lists)(path, at)
	switch {
	case verdict == "good" && status.Outcome != Good:
		t.Errorf("%v: %s", status.Outcome, status.Detail)
	case verdict == "revoked" && (status.Outcome != Bad || !status.Revoked):
		t.Errorf("%v: %s", status.Outcome, status.Detail)
	case verdict == "bad" && (status.Outcome != CouldNotTell || status.Detail == ""):
		t.Errorf("%v: %s", status.Outcome, status.Detail)
	case wellFormed && (status.Outcome != CouldNotTell || !strings.Contains(status.Detail, why)):
		t.Errorf("%v: %s, want %q", status.Outcome, status.Detail, why)
	}
}

type pkitsCase struct {
	Name                        string
	CertPath, CRLPath           []string
	ShouldValidate              bool
	InitialPolicySet            []string
	InitialPolicyMappingInhibit bool
	InitialExplicitPolicy       bool
	InitialAnyPolicyInhibit     bool
}

func TestPKITS(t *testing.T) {
	file := vectorFiles(t, "pkits/vectors.json")[0]
	var cases []pkitsCase
	if err := json.Unmarshal(readVector(t, file), &cases); err != nil {
		t.Fatal(err)
	}
	invalid := 0
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.Name] = true; !c.ShouldValidate {
			invalid++
		}
		t.Run(c.Name, func(t *testing.T) { pkitsRun(t, filepath.Dir(file), c) })
	}
	if len(cases) != 249 || invalid != 135 || len(seen) != 249 {
		t.Errorf("there are %d cases, %d of them invalid, want 249 and 135", len(cases), invalid)
	}
	if len(pkitsNotGood) > 40 {
		t.Errorf("%d valid cases are not good, and 40 may be", len(pkitsNotGood))
	}
	for name := range pkitsNotGood {
		if !seen[name] {
			t.Errorf("there is no case %q", name)
		}
	}
}

func pkitsRun(t *testing.T, dir string, c pkitsCase) {
	var path []*x509.Certificate
	lists := CRLs{}
	for _, name := range c.CertPath {
		cert, err := x509.ParseCertificate(readVector(t, filepath.Join(dir, "certs", name)))
		if err != nil {
			// Whoever cannot read a certificate does not come as far as Verify.
			pkitsJudge(t, c, CouldNotTell, "not read: "+err.Error())
			return
		}
		path = append(path, cert)
	}
	for _, name := range c.CRLPath {
		if err := lists.Add(readVector(t, filepath.Join(dir, "crls", name))); err != nil {
			t.Logf("%s: %v", name, err)
		}
	}
	slices.Reverse(path)
	leaf, others, anchor := path[0], path[1:len(path)-1], path[len(path)-1]
	lists.Candidates = others
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	o := Options{Anchors: []*x509.Certificate{anchor}, Intermediates: others, Purpose: Client, At: at}
	if leaf.IsCA {
		o.Purpose = CA // some paths of the suite end in a CA
	}
	for _, name := range c.InitialPolicySet {
		o.policies = append(o.policies, pkitsPolicy(t, name))
	}
	if c.restrictsPolicies() {
		askPolicies(t, c, &o, &lists)
	}
	o.Revocation = FromCRLs(lists)
	r := Verify(leaf, o)
	pkitsJudge(t, c, r.Outcome, r.Reason)
}

func pkitsJudge(t *testing.T, c pkitsCase, outcome Outcome, reason string) {
	t.Helper()
	want, listed := pkitsNotGood[c.Name]
	switch {
	case !c.ShouldValidate:
		if outcome == Good {
			t.Error("an invalid path is good")
		}
		if reason == "" {
			t.Error("there is no reason")
		}
	case outcome == Good && listed:
		t.Errorf("it is good, and stands in the table of those that are not: %s", want)
	case outcome != Good && !listed:
		t.Errorf("%v: %s", outcome, reason)
	case outcome != Good && (outcome != CouldNotTell) != (c.Name == pkitsHold):
		t.Errorf("%v: %s, want couldNotTell", outcome, reason)
	case outcome != Good && !strings.Contains(reason, want):
		t.Errorf("%s, want %q in it", reason, want)
	}
}
