package gate

import (
	"fmt"
	"net/http"
)

// Admin answers /metrics, /healthz (the gate runs) and /readyz (it lets somebody
// in). It is for an address of its own that clients do not reach.
func (g *Gate) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = g.WriteMetrics(w) // a client that went away
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok") // a client that went away
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := g.Ready(); why != nil {
			http.Error(w, fmt.Sprintf("%s: %s", why.Code, why.Reason), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok") // as above
	})
	return mux
}

// Ready says why the gate lets nobody in, or nil.
func (g *Gate) Ready() *Refusal {
	switch {
	case g.index.isShut():
		return &Refusal{CodeShutdown, "the gate ends"}
	case g.closedFor() != nil:
		return g.closedFor()
	}
	return g.logFails()
}
