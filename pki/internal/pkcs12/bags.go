package pkcs12

import (
	"crypto"
	"crypto/x509"
	encoding_asn1 "encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"mutual/pki/keys"
)

// readBags reads a SafeContents.
func (d *decoder) readBags(data []byte) error {
	list, err := readList(data)
	if err != nil {
		return err
	}
	for ; !list.Empty(); d.bags++ {
		if d.bags == maxBags {
			return fmt.Errorf("it has more than %d bags", maxBags)
		}
		var body, value, attributes cryptobyte.String
		var id encoding_asn1.ObjectIdentifier
		var hasAttributes bool
		if !list.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&id) ||
			!body.ReadASN1(&value, asn1.Tag(0).ContextSpecific().Constructed()) ||
			!body.ReadOptionalASN1(&attributes, &hasAttributes, asn1.SET) || !body.Empty() {
			return errMalformed
		}
		if err := d.readBag(id, value, attributes); err != nil {
			return err
		}
	}
	return nil
}

// readBag reads one bag. CRLs and secrets are left out.
func (d *decoder) readBag(id encoding_asn1.ObjectIdentifier, value, attributes cryptobyte.String) error {
	switch {
	case id.Equal(oidCertBag):
		return d.readCertificate(value)
	case id.Equal(oidSafeContentsBag):
		return errors.New("it has a safe inside a safe, which is not supported")
	case !id.Equal(oidKeyBag) && !id.Equal(oidShroudedKeyBag):
		return nil
	case d.contents.Key != nil:
		return errors.New("it holds more than one private key")
	}
	key, err := d.readKey(value, id.Equal(oidShroudedKeyBag))
	if err != nil {
		return err
	}
	d.contents.Key = key
	d.contents.FriendlyName, err = friendlyName(attributes)
	return err
}

// readKey reads a PrivateKeyInfo or, shrouded, an EncryptedPrivateKeyInfo.
func (d *decoder) readKey(value cryptobyte.String, shrouded bool) (crypto.Signer, error) {
	if !shrouded {
		return keys.ParsePKCS8(value)
	}
	var body, algorithm cryptobyte.String
	var sealed []byte
	if !value.ReadASN1(&body, asn1.SEQUENCE) || !value.Empty() ||
		!body.ReadASN1Element(&algorithm, asn1.SEQUENCE) ||
		!body.ReadASN1Bytes(&sealed, asn1.OCTET_STRING) || !body.Empty() {
		return nil, errMalformed
	}
	plain, err := d.open(algorithm, sealed)
	if err != nil {
		return nil, err
	}
	return keys.ParsePKCS8(plain)
}

func (d *decoder) readCertificate(value cryptobyte.String) error {
	var body, wrapped cryptobyte.String
	var kind encoding_asn1.ObjectIdentifier
	var der []byte
	if !value.ReadASN1(&body, asn1.SEQUENCE) || !value.Empty() || !body.ReadASN1ObjectIdentifier(&kind) ||
		!body.ReadASN1(&wrapped, asn1.Tag(0).ContextSpecific().Constructed()) || !body.Empty() ||
		!wrapped.ReadASN1Bytes(&der, asn1.OCTET_STRING) || !wrapped.Empty() {
		return errMalformed
	}
	if !kind.Equal(oidX509Certificate) {
		return fmt.Errorf("it has a certificate of the type %v, which is not X.509", kind)
	}
	if len(d.contents.Certificates) == maxCertificates {
		return fmt.Errorf("it has more than %d certificates", maxCertificates)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("a certificate in it: %w", err)
	}
	d.contents.Certificates = append(d.contents.Certificates, cert)
	return nil
}

// friendlyName finds the friendly name among the attributes of a bag, "" if
// there is none.
func friendlyName(attributes cryptobyte.String) (string, error) {
	for !attributes.Empty() {
		var body, values, text cryptobyte.String
		var id encoding_asn1.ObjectIdentifier
		if !attributes.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&id) ||
			!body.ReadASN1(&values, asn1.SET) || !body.Empty() {
			return "", errMalformed
		}
		if !id.Equal(oidFriendlyName) {
			continue
		}
		name, ok := "", values.ReadASN1(&text, bmpStringTag)
		if ok {
			name, ok = bmpText(text)
		}
		if !ok {
			return "", errMalformed
		}
		return name, nil
	}
	return "", nil
}
