package crl

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mutual/pki"
)

// parts are the pieces of a list, each an element in DER, so that a case can
// spoil one of them.
type parts struct {
	version, inner, issuer, thisUpdate, nextUpdate []byte
	entries                                        [][]byte // nil: absent
	extensions                                     [][]byte // nil: absent
	stray                                          []byte   // before revokedCertificates
	afterEntries, afterExtensions                  []byte
	outer, signature, afterSignature, afterList    []byte
}

func tlv(tag byte, content ...[]byte) []byte { return appendTLV(nil, tag, bytes.Join(content, nil)) }

func utcTime(s string) []byte { return tlv(0x17, []byte(s)) }

// ext is an Extension; head stands between the identifier and the value.
func ext(arc byte, head, value []byte) []byte {
	return tlv(0x30, tlv(0x06, []byte{0x55, 0x1d, arc}), head, tlv(0x04, value))
}

var critical = []byte{0x01, 0x01, 0xff}

func wholeParts() parts {
	algorithm := tlv(0x30, tlv(0x06, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}))
	return parts{
		version:    []byte{2, 1, 1},
		inner:      algorithm,
		issuer:     tlv(0x30, tlv(0x31, tlv(0x30, tlv(0x06, []byte{0x55, 0x04, 0x03}), tlv(0x0c, []byte("CA"))))),
		thisUpdate: utcTime("261101120000Z"),
		nextUpdate: utcTime("261201120000Z"),
		entries:    [][]byte{goodEntry(5)},
		extensions: [][]byte{ext(0x23, nil, tlv(0x30, tlv(0x80, []byte("key")))), ext(0x14, nil, tlv(0x02, []byte{7}))},
		outer:      algorithm,
		signature:  tlv(0x03, []byte{0, 1, 2, 3}),
	}
}

func goodEntry(serial byte) []byte {
	return tlv(0x30, tlv(0x02, []byte{serial}), utcTime("261031120000Z"), tlv(0x30, ext(0x15, nil, []byte{0x0a, 1, 1})))
}

// entryWith is an entry with these extensions.
func entryWith(extensions ...[]byte) [][]byte {
	return [][]byte{tlv(0x30, tlv(0x02, []byte{5}), utcTime("261031120000Z"), tlv(0x30, extensions...))}
}

func (p parts) der() []byte {
	content := [][]byte{p.version, p.inner, p.issuer, p.thisUpdate, p.nextUpdate, p.stray}
	if p.entries != nil {
		content = append(content, tlv(0x30, p.entries...))
	}
	content = append(content, p.afterEntries)
	if p.extensions != nil {
		content = append(content, tlv(0xa0, tlv(0x30, p.extensions...)))
	}
	content = append(content, p.afterExtensions)
	return append(tlv(0x30, tlv(0x30, content...), p.outer, p.signature, p.afterSignature), p.afterList...)
}

// with spoils a good list.
func with(change func(*parts)) []byte {
	p := wholeParts()
	if change != nil {
		change(&p)
	}
	return p.der()
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestParseReadsEveryField(t *testing.T) {
	l := mustParse(t, with(nil))
	e, ok := l.Lookup(mustSerial(t, "05"))
	want := Entry{mustSerial(t, "05"), time.Date(2026, 10, 31, 12, 0, 0, 0, time.UTC), pki.KeyCompromise}
	if !ok || e != want {
		t.Errorf("Lookup = %v, %v, want %v", e, ok, want)
	}
	if l.Version() != 2 || l.Number().Int64() != 7 || string(l.AuthorityKeyID()) != "key" ||
		l.ThisUpdate() != thisUpdate || l.NextUpdate() != thisUpdate.AddDate(0, 0, 30) ||
		!bytes.Equal(l.Issuer(), wholeParts().issuer) || l.Scope() != (Scope{}) || !bytes.Equal(l.Raw(), with(nil)) {
		t.Errorf("parsed %+v", l)
	}
}

func mustSerial(t testing.TB, hex string) pki.Serial {
	t.Helper()
	s, err := pki.ParseSerialHex(hex)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What other CAs write and we read, though we do not write it.
func TestParseAccepts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*parts)
	}{
		{"version 1", func(p *parts) { p.version, p.extensions, p.entries = nil, nil, nil }},
		{"no extensions", func(p *parts) { p.extensions = nil }},
		{"no nextUpdate", func(p *parts) { p.nextUpdate = nil }},
		{"early GeneralizedTime", func(p *parts) { p.thisUpdate = tlv(0x18, []byte("20261101120000Z")) }},
		{"unknown extension", func(p *parts) { p.extensions = [][]byte{ext(0x7f, nil, nil)} }},
		{"unknown entry extension", func(p *parts) { p.entries = entryWith(ext(0x7f, nil, nil)) }},
		{"critical reason", func(p *parts) { p.entries = entryWith(ext(0x15, critical, []byte{0x0a, 1, 1})) }},
		{"invalidity date", func(p *parts) { p.entries = entryWith(ext(0x18, critical, tlv(0x18, []byte("20200101000000Z")))) }},
		{"issuer and serial in the key identifier", func(p *parts) {
			p.extensions = [][]byte{ext(0x23, nil, tlv(0x30, tlv(0x80, []byte("key")), tlv(0xa1), tlv(0x82, []byte{1})))}
		}},
		{"only user certificates", func(p *parts) { p.extensions = [][]byte{ext(0x1c, critical, unhex("3003 8101ff"))} }},
		{"distribution point", func(p *parts) { p.extensions = [][]byte{ext(0x1c, critical, unhex("3007 a005 a003 860161"))} }},
		{"distribution point relative to the issuer", func(p *parts) {
			p.extensions = [][]byte{ext(0x1c, critical, unhex("300e a00c a10a 3008 0603550403 0c0161"))}
		}},
		{"every string type", func(p *parts) {
			p.issuer = tlv(0x30)
			for tag, s := range map[byte]string{0x13: "A b*&", 0x16: "a@b", 0x12: "1 2", 0x14: "\xe4", 0x1e: "\x00a\x20\xac", 0x0c: "ä"} {
				p.issuer = tlv(0x30, p.issuer[2:], tlv(0x31, tlv(0x30, unhex("0603550403"), tlv(tag, []byte(s)))))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(with(tt.change)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	null := []byte{5, 0}
	for _, tt := range []struct {
		name   string
		change func(*parts)
		want   string
	}{
		// crypto/x509 reads this one, signed, as a list without entries.
		{"stray element before revokedCertificates", func(p *parts) { p.stray = null }, "something where nothing may be"},
		{"after the entries", func(p *parts) { p.afterEntries = null }, "something where nothing may be"},
		{"after the extensions", func(p *parts) { p.afterExtensions = null }, "something where nothing may be"},
		{"after the signature", func(p *parts) { p.afterSignature = null }, "something after the signatureValue"},
		{"after the list", func(p *parts) { p.afterList = null }, "there is something after it"},
		{"version 0 written", func(p *parts) { p.version = []byte{2, 1, 0} }, "the version is written as 0"},
		{"version 3", func(p *parts) { p.version = []byte{2, 1, 2} }, "the version is written as 2"},
		{"version not minimal", func(p *parts) { p.version = []byte{2, 2, 0, 1} }, "the version is malformed"},
		{"version 1 with extensions", func(p *parts) { p.version, p.entries = nil, nil }, "it has extensions and is of version 1"},
		{"version 1 with entry extensions", func(p *parts) { p.version, p.extensions = nil, nil }, "entry 1: it has extensions, and the list is of version 1"},
		{"algorithms differ", func(p *parts) { p.outer = tlv(0x30, unhex("06032b6570")) }, "its two signature algorithms differ"},
		{"algorithm with two parameters", func(p *parts) {
			p.inner = tlv(0x30, unhex("06032b6570 0500 0500"))
			p.outer = p.inner
		}, "the signature algorithm is malformed"},
		{"signature with unused bits", func(p *parts) { p.signature = tlv(0x03, []byte{1, 2}) }, "the signatureValue is malformed"},
		{"empty issuer", func(p *parts) { p.issuer = tlv(0x30) }, "the issuer is malformed: the name is empty"},
		{"issuer with an empty set", func(p *parts) { p.issuer = tlv(0x30, tlv(0x31)) }, "at least one attribute"},
		{"issuer with three parts in an attribute", func(p *parts) {
			p.issuer = tlv(0x30, tlv(0x31, tlv(0x30, unhex("0603550403 0c0141 0500"))))
		}, "an attribute is not a type and a value"},
		{"issuer not UTF-8", func(p *parts) { p.issuer = tlv(0x30, tlv(0x31, tlv(0x30, unhex("0603550403 0c01ff")))) }, "attribute 2.5.4.3 is no valid string"},
		{"issuer of an INTEGER", func(p *parts) { p.issuer = tlv(0x30, tlv(0x31, tlv(0x30, unhex("0603550403 020101")))) }, "attribute 2.5.4.3 is no valid string"},
		{"thisUpdate without seconds", func(p *parts) { p.thisUpdate = utcTime("2611011200Z") }, "thisUpdate: the UTCTime is malformed"},
		{"thisUpdate with an offset", func(p *parts) { p.thisUpdate = utcTime("261101120000+0100") }, "thisUpdate: the UTCTime is malformed"},
		{"thisUpdate on 31 November", func(p *parts) { p.thisUpdate = utcTime("261131120000Z") }, "thisUpdate: the UTCTime is malformed"},
		{"thisUpdate an INTEGER", func(p *parts) { p.thisUpdate = []byte{2, 1, 1} }, "thisUpdate: it is no time"},
		{"nextUpdate with a fraction", func(p *parts) { p.nextUpdate = tlv(0x18, []byte("20261101120000.5Z")) }, "nextUpdate: the GeneralizedTime is malformed"},
		{"revokedCertificates empty", func(p *parts) { p.entries = [][]byte{} }, "revokedCertificates is empty, and must then be absent"},
		{"entry an INTEGER", func(p *parts) { p.entries = [][]byte{{2, 1, 1}} }, "entry 1: it is no SEQUENCE"},
		{"entry with a serial not minimal", func(p *parts) {
			p.entries = [][]byte{goodEntry(1), tlv(0x30, []byte{2, 2, 0, 5}, utcTime("261031120000Z"))}
		}, "entry 2: the serial number is not minimally encoded"},
		{"entry with an empty serial", func(p *parts) { p.entries = [][]byte{tlv(0x30, []byte{2, 0})} }, "entry 1: a serial number needs"},
		{"entry without a date", func(p *parts) { p.entries = [][]byte{tlv(0x30, []byte{2, 1, 5})} }, "entry 1: the revocation date: it is no time"},
		{"entry with a stray element", func(p *parts) {
			p.entries = [][]byte{tlv(0x30, []byte{2, 1, 5}, utcTime("261031120000Z"), null)}
		}, "entry 1: there is something after it"},
		{"entry with empty extensions", func(p *parts) { p.entries = entryWith() }, "entry 1: the extensions are empty"},
		{"reason twice", func(p *parts) {
			p.entries = entryWith(ext(0x15, nil, []byte{0x0a, 1, 1}), ext(0x15, nil, []byte{0x0a, 1, 1}))
		}, "entry 1: the extension 2.5.29.21 is there twice"},
		{"reason 7", func(p *parts) { p.entries = entryWith(ext(0x15, nil, []byte{0x0a, 1, 7})) }, "the reason code 7 does not exist"},
		{"reason 11", func(p *parts) { p.entries = entryWith(ext(0x15, nil, []byte{0x0a, 1, 11})) }, "the reason code 11 does not exist"},
		{"reason 257", func(p *parts) { p.entries = entryWith(ext(0x15, nil, []byte{0x0a, 2, 1, 1})) }, "the reason code 257 does not exist"},
		{"reason an INTEGER", func(p *parts) { p.entries = entryWith(ext(0x15, nil, []byte{2, 1, 1})) }, "the reason code is malformed"},
		{"reason and more", func(p *parts) { p.entries = entryWith(ext(0x15, nil, []byte{0x0a, 1, 1, 5, 0})) }, "the reason code is malformed"},
		{"criticality FALSE written", func(p *parts) { p.extensions[1] = ext(0x14, []byte{1, 1, 0}, tlv(0x02, []byte{7})) }, "the extension 2.5.29.20: its criticality is malformed"},
		{"extension with a stray element", func(p *parts) {
			p.extensions[1] = tlv(0x30, unhex("0603551d14"), tlv(0x04, []byte{2, 1, 7}), null)
		}, "the extension 2.5.29.20 is malformed"},
		{"extension without a value", func(p *parts) { p.extensions[1] = tlv(0x30, unhex("0603551d14")) }, "the extension 2.5.29.20 is malformed"},
		{"extension identifier malformed", func(p *parts) { p.extensions[1] = tlv(0x30, unhex("060180"), tlv(0x04)) }, "the identifier of an extension is malformed"},
		{"extensions empty", func(p *parts) { p.extensions = [][]byte{} }, "the extensions are empty"},
		{"extension twice", func(p *parts) { p.extensions = append(p.extensions, p.extensions[1]) }, "the extension 2.5.29.20 is there twice"},
		{"too many extensions", func(p *parts) {
			for i := range byte(80) {
				p.extensions = append(p.extensions, tlv(0x30, tlv(0x06, []byte{0x2a, i}), tlv(0x04)))
			}
		}, "there are more than 64 extensions"},
		{"number negative", func(p *parts) { p.extensions[1] = ext(0x14, nil, []byte{2, 1, 0x80}) }, "the CRL number is negative or longer"},
		{"number of 21 octets", func(p *parts) { p.extensions[1] = ext(0x14, nil, tlv(0x02, bytes.Repeat([]byte{1}, 21))) }, "the CRL number is negative or longer"},
		{"number and more", func(p *parts) { p.extensions[1] = ext(0x14, nil, []byte{2, 1, 7, 5, 0}) }, "the CRL number is malformed"},
		{"key identifier critical", func(p *parts) { p.extensions[0] = ext(0x23, critical, unhex("3003800101")) }, "the authority key identifier is critical"},
		{"key identifier and more", func(p *parts) { p.extensions[0] = ext(0x23, nil, unhex("30058001010500")) }, "the authority key identifier is malformed"},
		{"key identifier with a serial alone", func(p *parts) { p.extensions[0] = ext(0x23, nil, unhex("3003820101")) }, "the authority key identifier is malformed"},
		{"scope empty", func(p *parts) { p.extensions[1] = ext(0x1c, critical, unhex("3000")) }, "the issuing distribution point is malformed"},
		{"scope FALSE written", func(p *parts) { p.extensions[1] = ext(0x1c, critical, unhex("3003810100")) }, "the issuing distribution point is malformed"},
		{"scope with both kinds", func(p *parts) { p.extensions[1] = ext(0x1c, critical, unhex("30068101ff8201ff")) }, "holds only two kinds"},
		{"scope out of order", func(p *parts) { p.extensions[1] = ext(0x1c, critical, unhex("30068401ff8201ff")) }, "the issuing distribution point is malformed"},
		{"scope with an empty point", func(p *parts) { p.extensions[1] = ext(0x1c, critical, unhex("3002a000")) }, "the issuing distribution point is malformed"},
		{"scope with two names", func(p *parts) { p.extensions[1] = ext(0x1c, critical, unhex("300ca00aa003860161a003860162")) }, "the issuing distribution point is malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Parse(with(tt.change))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q in it", err, tt.want)
			}
			if unsupported := new(UnsupportedError); l != nil || errors.As(err, &unsupported) {
				t.Errorf("a malformed list gives %v, %T", l, err)
			}
		})
	}
}

// Well formed, and never to be taken for a list that covers everything.
func TestParseUnsupported(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*parts)
		want   string
	}{
		{"delta", func(p *parts) { p.extensions = append(p.extensions, ext(0x1b, critical, []byte{2, 1, 1})) }, "it is a delta list"},
		{"indirect", func(p *parts) { p.extensions = append(p.extensions, ext(0x1c, critical, unhex("3003 8401ff"))) }, "it is indirect"},
		{"certificateIssuer", func(p *parts) { p.entries = entryWith(ext(0x1d, critical, tlv(0x30))) }, "it is indirect (certificateIssuer)"},
		{"only some reasons", func(p *parts) { p.extensions = append(p.extensions, ext(0x1c, critical, unhex("3004 83020560"))) }, "onlySomeReasons"},
		{"attribute certificates", func(p *parts) { p.extensions = append(p.extensions, ext(0x1c, critical, unhex("3003 8501ff"))) }, "only attribute certificates"},
		{"unknown critical extension", func(p *parts) { p.extensions = append(p.extensions, ext(0x7f, critical, nil)) }, "the unknown critical extension 2.5.29.127"},
		{"unknown critical entry extension", func(p *parts) { p.entries = append(entryWith(ext(0x7f, critical, nil)), goodEntry(6)) }, "an entry has the unknown critical extension 2.5.29.127"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Parse(with(tt.change))
			unsupported := new(UnsupportedError)
			if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want an UnsupportedError with %q in it", err, tt.want)
			}
			if l != nil {
				t.Error("it gives a list beside the error")
			}
			if !bytes.Equal(unsupported.List.Issuer(), wholeParts().issuer) {
				t.Error("the error does not hold what was read")
			}
		})
	}
}

// Every list cut short is an error, and none panics.
func TestParseTruncated(t *testing.T) {
	der := with(nil)
	for i := range der {
		if _, err := Parse(der[:i]); err == nil {
			t.Errorf("the first %d octets of %d are accepted", i, len(der))
		}
	}
}

func addSeeds(f *testing.F) {
	key := fixtureKey(f, "issuing-p256")
	f.Add(mustCreate(f, templateFor(newCA(f, key, nil), manyEntries()...), key))
	f.Add(mustCreate(f, templateFor(newCA(f, key, nil)), key))
	for _, change := range []func(*parts){
		nil,
		func(p *parts) { p.stray = []byte{5, 0} },
		func(p *parts) { p.nextUpdate = nil },
		func(p *parts) { p.entries = [][]byte{goodEntry(7), goodEntry(3), goodEntry(7)} },
		func(p *parts) { p.extensions = [][]byte{ext(0x1c, critical, unhex("3007 a005 a003 860161"))} },
		func(p *parts) { p.version, p.extensions, p.entries = nil, nil, nil },
	} {
		f.Add(with(change))
	}
}

// What we accept, crypto/x509 accepts, with the same content.
func FuzzParseAgainstX509(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		l, err := Parse(der)
		if err != nil || l.Version() == 1 { // crypto/x509 does not read version 1
			return
		}
		want, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatalf("we accept it and crypto/x509 says %v", err)
		}
		if !bytes.Equal(l.Issuer(), want.RawIssuer) || !l.ThisUpdate().Equal(want.ThisUpdate) ||
			!l.NextUpdate().Equal(want.NextUpdate) || !bytes.Equal(l.AuthorityKeyID(), want.AuthorityKeyId) ||
			(l.Number() == nil) != (want.Number == nil) || l.Number() != nil && l.Number().Cmp(want.Number) != 0 {
			t.Fatalf("we read %+v, crypto/x509 %+v", l, want)
		}
		got := slices.Collect(l.Entries())
		if len(got) != len(want.RevokedCertificateEntries) || len(got) != l.Len() {
			t.Fatalf("we read %d entries, crypto/x509 %d", len(got), len(want.RevokedCertificateEntries))
		}
		for i, w := range want.RevokedCertificateEntries {
			if got[i].Serial.Big().Cmp(w.SerialNumber) != 0 || !got[i].RevocationDate.Equal(w.RevocationTime) || int(got[i].Reason) != w.ReasonCode {
				t.Fatalf("entry %d: we read %v, crypto/x509 %v", i, got[i], w)
			}
			if e, ok := l.Lookup(got[i].Serial); !ok || e.RevocationDate.After(got[i].RevocationDate) {
				t.Fatalf("entry %d is not found", i)
			}
		}
	})
}

// What we would have written ourselves comes out the same; the rest, once
// encoded by us, stays as it is.
func FuzzRoundTrip(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		l, err := Parse(der)
		if err != nil {
			return
		}
		tbs, err := encodeTBS(templateOf(l), l.algorithm)
		if err != nil {
			return // outside the profile
		}
		again := mustParse(t, appendTLV(nil, 0x30, bytes.Join([][]byte{tbs, l.algorithm, tlv(0x03, []byte{0}, l.signature)}, nil)))
		checkRoundTrip(t, again)
		if inProfile(l) && !bytes.Equal(tbs, l.tbs) {
			t.Fatalf("parsed and encoded again\n%x\nwas\n%x", tbs, l.tbs)
		}
	})
}

// inProfile reports whether a list that can be encoded again holds nothing
// that the profile does not write: as long as our encoding of it.
func inProfile(l *List) bool {
	x, err := x509.ParseRevocationList(l.raw)
	if err != nil || len(x.Extensions) != 2 || !x.Extensions[0].Id.Equal([]int{2, 5, 29, 35}) ||
		!x.Extensions[1].Id.Equal([]int{2, 5, 29, 20}) || x.Extensions[1].Critical || len(x.Extensions[0].Value) != 4+len(l.keyID) {
		return false
	}
	for i, e := range x.RevokedCertificateEntries {
		if len(e.Extensions) > 1 || len(e.Extensions) == 1 && (e.ReasonCode == 0 || e.Extensions[0].Critical) ||
			i > 0 && x.RevokedCertificateEntries[i-1].SerialNumber.Cmp(e.SerialNumber) > 0 {
			return false
		}
	}
	return !bytes.Contains(l.tbs, []byte("\x18\x0f1")) && !bytes.Contains(l.tbs, []byte("\x18\x0f20")) // no early GeneralizedTime
}
