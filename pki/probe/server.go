package probe

import (
	"crypto/x509"

	"mutual/pki"
)

// examine looks at the chain that the server sent. It is trusted only by
// Config.Roots, for the server's name, at the time of Config.Now; never by the
// system's roots.
func (p *prober) examine(chain []*x509.Certificate) *Server {
	s := &Server{Trust: NotChecked}
	for i, c := range chain {
		if i == maxChain {
			s.Omitted = len(chain) - maxChain
			break
		}
		s.Chain = append(s.Chain, viewCertificate(c))
	}
	if p.pool != nil {
		s.Trust = Trusted
		if err := p.verifyServer(chain); err != nil {
			s.Trust, s.TrustDetail = Untrusted, escape(err.Error())
		}
	}
	if known := p.report.Server; known == nil || known.Trust != Untrusted && s.Trust == Untrusted {
		p.report.Server = s
	}
	return s
}

func (p *prober) verifyServer(chain []*x509.Certificate) error {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:min(len(chain), maxChain)] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName:       p.serverName(),
		Roots:         p.pool,
		Intermediates: intermediates,
		CurrentTime:   p.Now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

func viewCertificate(c *x509.Certificate) Certificate {
	v := Certificate{
		Subject:   distinguishedName(c.RawSubject),
		Issuer:    distinguishedName(c.RawIssuer),
		NotBefore: c.NotBefore.UTC(),
		NotAfter:  c.NotAfter.UTC(),
		SHA256:    pki.FingerprintOf(c.Raw),
	}
	if c.SerialNumber.BitLen() < 8*maxSerial {
		v.Serial = pki.NewSerial(c.SerialNumber)
	}
	return v
}

// authorityNames gives the acceptable CAs as text, and how many were left out.
func authorityNames(names [][]byte) (text []string, omitted int) {
	for i, der := range names {
		if i == maxNames {
			return text, len(names) - maxNames
		}
		text = append(text, distinguishedName(der))
	}
	return text, 0
}
