package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Alert is a TLS alert (RFC 8446, Section 6).
type Alert struct {
	Level  string `json:"level"` // fatal: others end nothing
	Number int    `json:"number"`
	Name   string `json:"name"` // as in the RFC: unknown_ca
	From   string `json:"from"` // remote or local
}

// Who sent an alert.
const (
	fromRemote = "remote"
	fromLocal  = "local"
)

// The alerts that a judgement depends on.
const (
	alertHandshakeFailure      = 40
	alertProtocolVersion       = 70
	alertInsufficientSecurity  = 71
	alertNoRenegotiation       = 100
	alertCertificateRequired   = 116
	alertNoApplicationProtocol = 120
)

// alertName gives the name of a registered alert: RFC 8446, Section 6, RFC 5246,
// Section 7.2, RFC 6066, Section 9, and ech_required.
func alertName(number int) string {
	switch number {
	case 0:
		return "close_notify"
	case 10:
		return "unexpected_message"
	case 20:
		return "bad_record_mac"
	case 21:
		return "decryption_failed"
	case 22:
		return "record_overflow"
	case 30:
		return "decompression_failure"
	case alertHandshakeFailure:
		return "handshake_failure"
	case 41:
		return "no_certificate"
	case 42:
		return "bad_certificate"
	case 43:
		return "unsupported_certificate"
	case 44:
		return "certificate_revoked"
	case 45:
		return "certificate_expired"
	case 46:
		return "certificate_unknown"
	case 47:
		return "illegal_parameter"
	case 48:
		return "unknown_ca"
	case 49:
		return "access_denied"
	case 50:
		return "decode_error"
	case 51:
		return "decrypt_error"
	case 60:
		return "export_restriction"
	case alertProtocolVersion:
		return "protocol_version"
	case alertInsufficientSecurity:
		return "insufficient_security"
	case 80:
		return "internal_error"
	case 86:
		return "inappropriate_fallback"
	case 90:
		return "user_canceled"
	case alertNoRenegotiation:
		return "no_renegotiation"
	case 109:
		return "missing_extension"
	case 110:
		return "unsupported_extension"
	case 111:
		return "certificate_unobtainable"
	case 112:
		return "unrecognized_name"
	case 113:
		return "bad_certificate_status_response"
	case 114:
		return "bad_certificate_hash_value"
	case 115:
		return "unknown_psk_identity"
	case alertCertificateRequired:
		return "certificate_required"
	case alertNoApplicationProtocol:
		return "no_application_protocol"
	case 121:
		return "ech_required"
	}
	return fmt.Sprintf("alert_%d", number)
}

func newAlert(number int, from string) *Alert {
	return &Alert{Level: "fatal", Number: number, Name: alertName(number), From: from}
}

// alertOf finds the alert in an error of crypto/tls, nil if there is none.
// The number is in an unexported type whose text is that of tls.AlertError,
// different for each of the 256.
func alertOf(err error) *Alert {
	var op *net.OpError
	if !errors.As(err, &op) || op.Err == nil {
		return nil
	}
	from := map[string]string{"remote error": fromRemote, "local error": fromLocal}[op.Op]
	if from == "" {
		return nil
	}
	for n := range 256 {
		if tls.AlertError(n).Error() == op.Err.Error() {
			return newAlert(n, from)
		}
	}
	return nil
}

// aboutCertificate reports whether a server sends the alert for a client's
// certificate: which one it is names the stack rather than the cause.
func (a *Alert) aboutCertificate() bool {
	return a.Number >= alertHandshakeFailure && a.Number <= 51 || a.Number == alertCertificateRequired
}

func (a *Alert) remote(number int) bool {
	return a != nil && a.From == fromRemote && a.Number == number
}

func (a *Alert) local(number int) bool {
	return a != nil && a.From == fromLocal && a.Number == number
}
