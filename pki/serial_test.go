package pki_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"mutual/pki"
)

func TestSerialText(t *testing.T) {
	hex, decimal := pki.ParseSerialHex, pki.ParseSerialDecimal
	for _, tt := range []struct {
		parse      func(string) (pki.Serial, error)
		text, want string
	}{
		{hex, "4c8a01", "4c8a01"},
		{hex, "4C8A01", "4c8a01"},
		{hex, "4c:8a:01", "4c8a01"},
		{hex, "c:8a:01", "0c8a01"},
		{hex, "0x4c8a01", "4c8a01"},
		{hex, "0X4C:8A:01", "4c8a01"},
		{hex, "0", "00"},
		{hex, "1", "01"},
		{hex, "0001", "01"},
		{hex, "ff", "ff"},
		{hex, strings.Repeat("f", 128), strings.Repeat("f", 128)},
		{decimal, "0", "00"},
		{decimal, "255", "ff"},
		{decimal, "0255", "ff"},
		{decimal, "101739226000000000000000000000000000000", "4c8a431eb396eb6ac63997fa80000000"},
	} {
		s, err := tt.parse(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if s.String() != tt.want {
			t.Errorf("%q = %s, want %s", tt.text, s, tt.want)
		}
	}
}

func TestSerialTextRefused(t *testing.T) {
	hex, decimal := pki.ParseSerialHex, pki.ParseSerialDecimal
	const noHex, no = "is not a serial number in hexadecimal", "is not a serial number"
	for _, tt := range []struct {
		parse      func(string) (pki.Serial, error)
		text, want string
	}{
		{hex, "", no},
		{hex, "0x", no},
		{hex, "0x0Xff", no},
		{hex, "-1", no},
		{hex, "+1", no},
		{hex, "f_f", no},
		{hex, "fg", no},
		{hex, "4c 8a", no},
		{hex, "4c8a01\n", no},
		{hex, ":", noHex},
		{hex, "4c:", noHex},
		{hex, ":4c", noHex},
		{hex, "4c::8a", noHex},
		{hex, "4c8:a0", noHex},
		{hex, "4c:8:a0", noHex}, // 08 or 8a? a serial is not guessed
		{hex, strings.Repeat("f", 129), no},
		{hex, strings.Repeat("ff:", 64) + "ff", no},
		{decimal, "", no},
		{decimal, "-1", no},
		{decimal, "1_0", no},
		{decimal, "0x10", no},
		{decimal, "4c", no},
		{decimal, "１２", no},
		{decimal, strings.Repeat("9", 129), no},
	} {
		t.Run(tt.text, func(t *testing.T) {
			s, err := tt.parse(tt.text)
			wantError(t, err, tt.want)
			if !s.IsZero() {
				t.Errorf("a serial beside the error: %s", s)
			}
		})
	}
}

// Two serials are the same exactly when the INTEGERs are.
func TestSerialOctets(t *testing.T) {
	for _, tt := range []struct {
		number string // decimal
		octets []byte
		text   string
	}{
		{"0", []byte{0}, "00"},
		{"1", []byte{1}, "01"},
		{"127", []byte{0x7f}, "7f"},
		{"128", []byte{0, 0x80}, "80"},
		{"255", []byte{0, 0xff}, "ff"},
		{"256", []byte{1, 0}, "0100"},
		{"-1", []byte{0xff}, "-01"},
		{"-128", []byte{0x80}, "-80"},
		{"-129", []byte{0xff, 0x7f}, "-81"},
		{"-256", []byte{0xff, 0}, "-0100"},
		{"-32768", []byte{0x80, 0}, "-8000"},
	} {
		n, _ := new(big.Int).SetString(tt.number, 10)
		s := pki.NewSerial(n)
		if !bytes.Equal(s.Octets(), tt.octets) || s.String() != tt.text || s.Big().Cmp(n) != 0 {
			t.Errorf("%s: octets %x, text %s, number %s; want %x, %s", n, s.Octets(), s, s.Big(), tt.octets, tt.text)
		}
		again, err := pki.SerialFromOctets(tt.octets)
		if err != nil || again != s {
			t.Errorf("%s: %x is read as %s, %v", n, tt.octets, again, err)
		}
	}
	for _, tt := range []struct {
		octets []byte
		want   string
	}{
		{nil, "needs at least one octet"},
		{[]byte{0, 1}, "is not minimally encoded"},
		{[]byte{0, 0x7f}, "is not minimally encoded"},
		{[]byte{0xff, 0x80}, "is not minimally encoded"},
	} {
		_, err := pki.SerialFromOctets(tt.octets)
		wantError(t, err, tt.want)
	}
}

func TestSerialZeroValueAndJSON(t *testing.T) {
	var none pki.Serial
	if !none.IsZero() || none.String() != "" || len(none.Octets()) != 0 || none.Big().Sign() != 0 {
		t.Errorf("the zero value is %q, %x", none, none.Octets())
	}
	if zero := pki.NewSerial(new(big.Int)); zero.IsZero() || zero == none {
		t.Error("the serial 0 is taken for none")
	}
	b, err := json.Marshal(map[pki.Serial]pki.Serial{pki.NewSerial(big.NewInt(300)): pki.NewSerial(big.NewInt(7))})
	if want := `{"012c":"07"}`; err != nil || string(b) != want {
		t.Errorf("JSON %s, %v, want %s", b, err, want)
	}
}

// A text that is read is written and read again as the same number.
func FuzzSerialText(f *testing.F) {
	for _, s := range []string{"4c8a01", "4c:8a:01", "0x00ff", "12", "-1", "f_f", "4c:8:a0", "0x0Xff", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (pki.Serial, error){pki.ParseSerialHex, pki.ParseSerialDecimal} {
			s, err := parse(text)
			if err != nil {
				if !s.IsZero() {
					t.Error("a serial beside an error")
				}
				continue
			}
			if again, err := pki.ParseSerialHex(s.String()); err != nil || again != s {
				t.Errorf("%q is %s, read again %s, %v", text, s, again, err)
			}
			if pki.NewSerial(s.Big()) != s || s.Big().Sign() < 0 {
				t.Errorf("%q is the number %s", text, s.Big())
			}
		}
	})
}

// Every minimal encoding is a serial, and comes back.
func FuzzSerialOctets(f *testing.F) {
	for _, b := range [][]byte{{0}, {0x80}, {0xff, 0x7f}, {0, 0x80}, {0, 1}, {}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		s, err := pki.SerialFromOctets(octets)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Octets(), octets) || pki.NewSerial(s.Big()) != s {
			t.Errorf("%x is %s with the octets %x, and %x again", octets, s, s.Octets(), pki.NewSerial(s.Big()).Octets())
		}
	})
}
