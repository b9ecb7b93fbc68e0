package proof

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A connection that had ended before anybody was revoked was not cut.
func TestEndedBefore(t *testing.T) {
	api := API()
	short := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 20*time.Millisecond)
		defer cancel()
		api.ServeHTTP(w, r.WithContext(ctx))
	})
	for what, tt := range map[string]struct {
		api   http.Handler
		holds bool
	}{"cut": {api, true}, "ended by itself": {short, false}} {
		server := httptest.NewUnstartedServer(tt.api)
		server.EnableHTTP2 = true
		server.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		client := Client{Address: server.Listener.Addr().String(), Config: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
		open, err := client.stream(t.Context(), false, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if !tt.holds {
			<-open.ended
		}
		began := time.Now()
		server.CloseClientConnections()
		claim := cuts([]*live{open}, began, time.Now())
		if claim.Holds != tt.holds || strings.Contains(claim.Detail, "had ended before") == tt.holds {
			t.Errorf("%s: %+v", what, claim)
		}
		open.stop()
		server.Close()
	}
}
