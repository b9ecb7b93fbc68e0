package probe

import (
	"time"

	"mutual/pki"
)

// SchemaVersion is the version of the Report's JSON form.
const SchemaVersion = 1

// Outcome is what a probe says in the end. The zero value is CouldNotTell.
type Outcome int

// The outcomes. OK: every page over every TLS version that the server offers is
// as expected.
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

// Verdict is what became of one case.
type Verdict string

// The verdicts. SameAsNone: HTTP gave it what it gives to nobody. LocalRefused:
// it ended on our side, so it says nothing of the server.
const (
	Accepted     Verdict = "accepted"
	Rejected     Verdict = "rejected"
	SameAsNone   Verdict = "sameAsNone"
	LocalRefused Verdict = "localRefused"
	Inconclusive Verdict = "inconclusive"
)

// Layer is where a verdict was seen: where a rejected case was stopped, or the
// last layer that let an accepted one through. LayerClose: the connection was
// closed without an alert. LayerHTTP is the server's own refusal, LayerApp one
// that an application behind it may have made.
type Layer string

// The layers.
const (
	LayerNone          Layer = "none"
	LayerHandshake     Layer = "tlsHandshake"
	LayerPostHandshake Layer = "tlsPostHandshake"
	LayerRenegotiation Layer = "tlsRenegotiation"
	LayerHTTP          Layer = "http"
	LayerApp           Layer = "app"
	LayerClose         Layer = "connectionClose"
)

// Strength says how far the evidence carries the verdict.
type Strength string

// Strong evidence is an alert, a TLS 1.3 session ticket, a finished TLS 1.2
// handshake or a difference in HTTP status; weak evidence is silence, a
// connection closed without a word, a redirect, a body, or the absence of
// something to compare with.
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
	Target     string      `json:"target"`
	Address    string      `json:"address,omitempty"` // of the connections: IP and port
	Mode       Mode        `json:"mode"`
	EnforcedAt Layer       `json:"enforcedAt"`
	Strength   Strength    `json:"strength"`
	Outcome    Outcome     `json:"outcome"`
	Expected   Expectation `json:"expected"`
	Reason     string      `json:"reason"`   // one line
	Stack      string      `json:"stack"`    // what the server seems to be; empty: not recognised
	TLS        []Version   `json:"tls"`      // TLS 1.2, then 1.3; empty if nothing was reached
	Children   []Child     `json:"children"` // for each path and version that is offered
	Cases      []Case      `json:"cases"`    // in the order in which they were made
	Findings   []Finding   `json:"findings"` // the gravest first
	Senders    *Senders    `json:"senders,omitempty"`
	Server     *Server     `json:"server,omitempty"`
	Timings    Timings     `json:"timings"`
}

// Version is what was found of one TLS version.
type Version struct {
	Version              string   `json:"version"` // "1.2", "1.3"
	Offered              Answer   `json:"offered"`
	Requested            Answer   `json:"requested"`               // was a CertificateRequest seen
	AcceptableCAs        []string `json:"acceptableCAs,omitempty"` // RFC 4514 text, in the server's order
	AcceptableCAsOmitted int      `json:"acceptableCAsOmitted,omitempty"`
	Mode                 Mode     `json:"mode,omitempty"` // empty where it is not offered
	EnforcedAt           Layer    `json:"enforcedAt,omitempty"`
	Reason               string   `json:"reason"`

	unconfirmed bool     // not offered, by closed connections alone
	authorities [][]byte // the acceptable CAs, DER Names
	goodProblem error    // why Go would not send the good certificate
}

// Child is what was found of one path over one TLS version.
type Child struct {
	Path       string   `json:"path"`
	TLS        string   `json:"tls"`
	Mode       Mode     `json:"mode"`
	EnforcedAt Layer    `json:"enforcedAt"`
	Strength   Strength `json:"strength"`
	Outcome    Outcome  `json:"outcome"`
	Reason     string   `json:"reason"`

	doubtful bool // it may be something else that is refused: as expected is not enough
}

// Case is one experiment and what became of it. One that TLS refused is not
// made again for another path: its result stands for all.
type Case struct {
	Case            CaseID   `json:"case"`
	TLS             string   `json:"tls"`
	Path            string   `json:"path"`
	Control         bool     `json:"control,omitempty"` // a repetition at the end
	Verdict         Verdict  `json:"verdict"`
	Layer           Layer    `json:"layer"`
	Strength        Strength `json:"strength"`
	Detail          string   `json:"detail"`
	CertificateSent bool     `json:"certificateSent"`
	SessionTickets  int      `json:"sessionTickets"` // TLS 1.3 only; those that were seen
	Alert           *Alert   `json:"alert,omitempty"`
	HTTP            *HTTP    `json:"http,omitempty"`
	OctetsRead      int64    `json:"octetsRead"`
	OctetsWritten   int64    `json:"octetsWritten"`
	Milliseconds    float64  `json:"ms"`
}

// Senders says which clients would send the good certificate at all, given the
// CAs that the server names: they choose by them (RFC 8446, Section 4.2.4).
type Senders struct {
	Go       bool   `json:"go"`
	Java     bool   `json:"java"`
	Browsers bool   `json:"browsers"`
	Reason   string `json:"reason"`
}

// HTTP is the answer to the request of an attempt.
type HTTP struct {
	Protocol     string `json:"protocol"` // HTTP/1.1 or HTTP/2
	Status       int    `json:"status"`
	Location     string `json:"location,omitempty"`
	Server       string `json:"server,omitempty"`
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
