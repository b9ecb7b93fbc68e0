package probe

import (
	"time"

	"mutual/pki"
)

// SchemaVersion is the version of the Report's JSON form.
const SchemaVersion = 1

// Outcome is what a probe says in the end. The zero value is CouldNotTell.
type Outcome int

// The outcomes. OK: in every TLS version that the server offers a client
// certificate is required and the one given, if any, is accepted.
const (
	CouldNotTell Outcome = iota
	OK
	Violated
)

// String gives the outcome as JSON spells it.
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Violated:
		return "violated"
	}
	return "couldNotTell"
}

// MarshalText makes an Outcome a string in JSON.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Answer is yes, no or unknown.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Verdict is what became of one attempt.
type Verdict string

// The verdicts. LocalRefused: it ended on our side, so it says nothing of the
// server.
const (
	Accepted     Verdict = "accepted"
	Rejected     Verdict = "rejected"
	LocalRefused Verdict = "localRefused"
	Inconclusive Verdict = "inconclusive"
)

// Layer is where a verdict was seen: where a rejected attempt was stopped, or
// the last layer that let an accepted one through.
type Layer string

// The layers.
const (
	LayerNone          Layer = "none"
	LayerHandshake     Layer = "tlsHandshake"
	LayerPostHandshake Layer = "tlsPostHandshake"
	LayerHTTP          Layer = "http"
)

// Strength says how far the evidence carries the verdict.
type Strength string

// Strong evidence is an alert, a TLS 1.3 session ticket, a finished TLS 1.2
// handshake or a difference in HTTP status; weak evidence is silence, a
// connection closed without a word, a redirect or a body.
const (
	Strong Strength = "strong"
	Weak   Strength = "weak"
)

// Trust is what was found of the server's chain.
type Trust string

// The findings. NotChecked: the probe was given no trust anchors.
const (
	NotChecked Trust = "notChecked"
	Trusted    Trust = "trusted"
	Untrusted  Trust = "untrusted"
)

// Report is the result of a probe. Every text in it that comes from the peer
// is escaped and bounded.
type Report struct {
	SchemaVersion int       `json:"schemaVersion"`
	Target        string    `json:"target"`
	Address       string    `json:"address,omitempty"` // of the connections: IP and port
	Outcome       Outcome   `json:"outcome"`
	Reason        string    `json:"reason"` // one line
	TLS           []Version `json:"tls"`    // TLS 1.2, then 1.3; empty if nothing was reached
	Server        *Server   `json:"server,omitempty"`
	Timings       Timings   `json:"timings"`
}

// Version is what was found of one TLS version.
type Version struct {
	Version              string   `json:"version"` // "1.2", "1.3"
	Offered              Answer   `json:"offered"`
	Requested            Answer   `json:"requested"`               // was a CertificateRequest seen
	AcceptableCAs        []string `json:"acceptableCAs,omitempty"` // RFC 4514 text, in the server's order
	AcceptableCAsOmitted int      `json:"acceptableCAsOmitted,omitempty"`
	Outcome              Outcome  `json:"outcome"` // means nothing where Offered is No
	Reason               string   `json:"reason"`
	None                 Attempt  `json:"none"`           // without a certificate
	Ours                 *Attempt `json:"ours,omitempty"` // with ours, where there was a point in it

	unconfirmed bool // not offered, by closed connections alone
}

// Attempt is one connection and what became of it.
type Attempt struct {
	Verdict         Verdict  `json:"verdict"`
	Layer           Layer    `json:"layer"`
	Strength        Strength `json:"strength"`
	Detail          string   `json:"detail"`
	CertificateSent bool     `json:"certificateSent"`
	SessionTicket   bool     `json:"sessionTicket"` // TLS 1.3 only
	Alert           *Alert   `json:"alert,omitempty"`
	HTTP            *HTTP    `json:"http,omitempty"`
}

// HTTP is the answer to the request of an attempt.
type HTTP struct {
	Status       int    `json:"status"`
	Location     string `json:"location,omitempty"`
	BodyOctets   int64  `json:"bodyOctets"` // read and hashed, at most maxBody
	BodySHA256   string `json:"bodySHA256"`
	BodyComplete bool   `json:"bodyComplete"` // read to its end, or to maxBody
}

// Server is the server's side of the handshake.
type Server struct {
	Chain       []Certificate `json:"chain"` // as sent, leaf first
	Omitted     int           `json:"omitted,omitempty"`
	Trust       Trust         `json:"trust"`
	TrustDetail string        `json:"trustDetail,omitempty"`
}

// Certificate is a certificate of the server's chain. The serial is empty if
// it is longer than any that could be looked up.
type Certificate struct {
	Subject   string          `json:"subject"`
	Issuer    string          `json:"issuer"`
	Serial    pki.Serial      `json:"serial"`
	NotBefore time.Time       `json:"notBefore"`
	NotAfter  time.Time       `json:"notAfter"`
	SHA256    pki.Fingerprint `json:"sha256"`
}

// Timings are in milliseconds; what was not measured is left out. TCP and TLS
// are those of the first connection whose handshake was finished.
type Timings struct {
	DNS float64 `json:"dnsMs,omitempty"`
	TCP float64 `json:"tcpMs,omitempty"`
	TLS float64 `json:"tlsMs,omitempty"`
}
