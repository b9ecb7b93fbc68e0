package probe

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// isSafe reports whether a text may go to a terminal as it stands.
func isSafe(s string) bool {
	printable := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
	// Each of the characters kept may have become four octets of \XX.
	return printable && utf8.ValidString(s) && len(s) <= 12*maxText+len("…")
}

// nameDER encodes a Name of one attribute to an RDN.
func nameDER(t testing.TB, attributes ...pkix.AttributeTypeAndValue) []byte {
	t.Helper()
	var rdns pkix.RDNSequence
	for _, a := range attributes {
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{a})
	}
	der, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func attribute(oid asn1.ObjectIdentifier, value any) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oid, Value: value}
}

func TestDistinguishedName(t *testing.T) {
	cn, o := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}
	unhex := func(s string) []byte {
		der, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for _, row := range []struct {
		name string
		der  []byte
		want string
	}{
		{"last RDN first", nameDER(t, attribute(o, "Example"), attribute(cn, "Root")), "CN=Root,O=Example"},
		{"more than one attribute", unhex("301e311c300a060355040a0c03457861300e06035504030c0743413b203d2041"), `O=Exa+CN=CA\; = A`},
		{"specials", nameDER(t, attribute(cn, ` a,b+"c"\<d>;#`)), `CN=\ a\,b\+\"c\"\\\<d\>\;#`},
		{"leading hash, trailing space", nameDER(t, attribute(cn, "#a ")), `CN=\#a\ `},
		{"control characters", nameDER(t, attribute(cn, "a\x1b[2J\r\n\x00")), `CN=a\1B[2J\0D\0A\00`},
		{"direction override", nameDER(t, attribute(cn, "a\u202eb")), `CN=a\E2\80\AEb`},
		{"umlaut", nameDER(t, attribute(cn, "Bücher")), "CN=Bücher"},
		{"no UTF-8", unhex("300d310b300906035504030c02c328"), `CN=\C3(`},
		{"Teletex", unhex("300c310a300806035504031401fc"), "CN=ü"},
		{"BMP", unhex("300f310d300b06035504031e0400fc0041"), "CN=üA"},
		{"odd BMP", unhex("300e310c300a06035504031e0300fc00"), "CN=#1e0300fc00"},
		{"unknown attribute", nameDER(t, attribute(asn1.ObjectIdentifier{1, 2, 3}, "x")), "1.2.3=#130178"},
		{"no string", nameDER(t, attribute(cn, 5)), "CN=#020105"},
		{"empty", unhex("3000"), ""},
		{"trailing octet", unhex("300000"), "#300000"},
		{"garbage", []byte("hello"), "#68656c6c6f"},
		{"too long", nameDER(t, attribute(cn, strings.Repeat("a", 2*maxText))), "CN=" + strings.Repeat("a", maxText-3) + "…"},
	} {
		if got := distinguishedName(row.der); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

func FuzzDistinguishedName(f *testing.F) {
	f.Add(nameDER(f, attribute(asn1.ObjectIdentifier{2, 5, 4, 3}, "a,b\x00")))
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, der []byte) {
		if got := distinguishedName(der); !isSafe(got) {
			t.Errorf("%q", got)
		}
	})
}

func TestAuthorityNamesAreBounded(t *testing.T) {
	names := make([][]byte, 5000)
	for i := range names {
		names[i] = nameDER(t, attribute(asn1.ObjectIdentifier{2, 5, 4, 3}, fmt.Sprintf("CA %d", i)))
	}
	text, omitted := authorityNames(names)
	if len(text) != maxNames || omitted != 5000-maxNames || text[7] != "CN=CA 7" {
		t.Errorf("%d names, %d omitted, %q", len(text), omitted, text[7])
	}
}

func TestAlertOf(t *testing.T) {
	for n := range 256 {
		for op, from := range map[string]string{"remote error": fromRemote, "local error": fromLocal} {
			err := fmt.Errorf("reading: %w", &net.OpError{Op: op, Err: tls.AlertError(n)})
			if a := alertOf(err); a == nil || a.Number != n || a.From != from || a.Name == "" {
				t.Errorf("alert %d from %s: got %+v", n, from, a)
			}
		}
	}
	for _, err := range []error{nil, &net.OpError{Op: "read", Err: tls.AlertError(40)}, &net.OpError{Op: "remote error"}} {
		if a := alertOf(err); a != nil {
			t.Errorf("%v: got %+v", err, a)
		}
	}
	if got := newAlert(116, fromRemote).Name + " " + newAlert(200, fromRemote).Name; got != "certificate_required alert_200" {
		t.Errorf("names: %s", got)
	}
}
