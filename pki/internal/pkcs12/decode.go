package pkcs12

import (
	"bytes"
	"crypto/hmac"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Decode reads a file with one private key and its certificates. The password
// is UTF-8 and may be empty, as some programs write it; a wrong one is
// ErrPassword. Whatever the file holds, this takes bounded time and memory.
func Decode(data []byte, password string) (*Contents, error) {
	c, err := decode(data, password, MaxCost)
	if err != nil {
		return nil, fmt.Errorf("reading PKCS#12: %w", err)
	}
	return c, nil
}

// decode is Decode for a file that asks for at most so much work.
func decode(data []byte, password string, cost int) (*Contents, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("it has %d octets, and at most %d are read", len(data), MaxSize)
	}
	safe, mac, err := readPFX(data)
	if err != nil {
		return nil, err
	}
	d := decoder{opener: opener{password: []byte(password), left: cost}}
	if err := d.checkMAC(mac, safe, password); err != nil {
		return nil, err
	}
	if err := d.readSafes(safe); err != nil {
		return nil, err
	}
	switch {
	case d.contents.Key == nil:
		return nil, errors.New("it holds no private key")
	case len(d.contents.Certificates) == 0:
		return nil, errors.New("it holds no certificate")
	}
	return &d.contents, nil
}

// readPFX takes the outer structure apart (RFC 7292, Section 4): the octets of
// the AuthenticatedSafe, and their MAC.
func readPFX(data []byte) (safe []byte, mac macData, err error) {
	der, err := toDER(data)
	if err != nil {
		return nil, mac, err
	}
	input := cryptobyte.String(der)
	var body cryptobyte.String
	var version uint
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1Integer(&version) {
		return nil, mac, errMalformed
	}
	if version != 3 {
		return nil, mac, fmt.Errorf("its version is %d, and only 3 is read", version)
	}
	kind, content, err := readContentInfo(&body)
	if err != nil {
		return nil, mac, err
	}
	if !kind.Equal(oidData) {
		return nil, mac, errors.New("it is protected by a signature and not by a password")
	}
	if safe, err = readOctets(content); err != nil {
		return nil, mac, err
	}
	if mac, err = readMAC(&body); err == nil && !body.Empty() {
		err = errMalformed
	}
	return safe, mac, err
}

// decoder collects what a file holds.
type decoder struct {
	opener
	contents Contents
	bags     int
}

// checkMAC checks the MAC. An empty password is a terminator for some
// programs and nothing at all for others: the one that agrees is kept.
func (d *decoder) checkMAC(mac macData, safe []byte, password string) error {
	candidates := [][]byte{terminated(password)}
	if password == "" {
		candidates = append(candidates, nil)
	}
	for _, bmp := range candidates {
		if err := d.spend(mac.iterations); err != nil {
			return err
		}
		if hmac.Equal(mac.digest, mac.of(safe, bmp)) {
			d.bmp = bmp
			return nil
		}
	}
	return ErrPassword
}

// readSafes reads an AuthenticatedSafe.
func (d *decoder) readSafes(safe []byte) error {
	list, err := readList(safe)
	if err != nil {
		return err
	}
	for n := 0; !list.Empty(); n++ {
		if n == maxSafes {
			return fmt.Errorf("it has more than %d safes", maxSafes)
		}
		kind, content, err := readContentInfo(&list)
		if err != nil {
			return err
		}
		var bags []byte
		switch {
		case kind.Equal(oidData):
			bags, err = readOctets(content)
		case kind.Equal(oidEncryptedData):
			bags, err = d.openEncryptedData(content)
		default:
			err = fmt.Errorf("it has a safe of the type %v, which is not supported", kind)
		}
		if err != nil {
			return err
		}
		if err := d.readBags(bags); err != nil {
			return err
		}
	}
	return nil
}

// openEncryptedData decrypts an EncryptedData (RFC 5652, Sections 6.1 and 8).
func (d *decoder) openEncryptedData(content cryptobyte.String) ([]byte, error) {
	var body, info, algorithm, sealed cryptobyte.String
	var version uint
	var kind encoding_asn1.ObjectIdentifier
	var tag asn1.Tag
	if !content.ReadASN1(&body, asn1.SEQUENCE) || !content.Empty() ||
		!body.ReadASN1Integer(&version) || version != 0 ||
		!body.ReadASN1(&info, asn1.SEQUENCE) || !body.Empty() ||
		!info.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(oidData) ||
		!info.ReadASN1Element(&algorithm, asn1.SEQUENCE) ||
		!info.ReadAnyASN1(&sealed, &tag) || !info.Empty() {
		return nil, errMalformed
	}
	switch tag {
	case asn1.Tag(0).ContextSpecific():
		return d.open(algorithm, sealed)
	case asn1.Tag(0).ContextSpecific().Constructed(): // an octet string in pieces, as NSS writes it
		pieces, err := joinOctets(sealed)
		if err != nil {
			return nil, err
		}
		return d.open(algorithm, pieces)
	}
	return nil, errMalformed
}

// readContentInfo reads a ContentInfo (RFC 5652, Section 3).
func readContentInfo(s *cryptobyte.String) (kind encoding_asn1.ObjectIdentifier, content cryptobyte.String, err error) {
	var body cryptobyte.String
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&kind) ||
		!body.ReadASN1(&content, asn1.Tag(0).ContextSpecific().Constructed()) || !body.Empty() {
		err = errMalformed
	}
	return kind, content, err
}

// readList returns the elements of the SEQUENCE that an octet string holds,
// which may be BER again.
func readList(data []byte) (cryptobyte.String, error) {
	der, err := toDER(data)
	if err != nil {
		return nil, err
	}
	input := cryptobyte.String(der)
	var list cryptobyte.String
	if !input.ReadASN1(&list, asn1.SEQUENCE) {
		return nil, errMalformed
	}
	return list, nil
}

// readOctets returns the content of the one OCTET STRING in s.
func readOctets(s cryptobyte.String) ([]byte, error) {
	var content []byte
	if !s.ReadASN1Bytes(&content, asn1.OCTET_STRING) || !s.Empty() {
		return nil, errMalformed
	}
	return content, nil
}

// joinOctets returns the contents of all the OCTET STRINGs in s.
func joinOctets(s cryptobyte.String) ([]byte, error) {
	var pieces bytes.Buffer
	for !s.Empty() {
		var piece []byte
		if !s.ReadASN1Bytes(&piece, asn1.OCTET_STRING) {
			return nil, errMalformed
		}
		pieces.Write(piece)
	}
	return pieces.Bytes(), nil
}
