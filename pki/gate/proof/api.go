package proof

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// beat is how often a stream says something.
const beat = 5 * time.Millisecond

// API is a small API to put behind a gate: GET /hello answers, GET /stream never
// ends, and /socket echoes what comes after an upgrade.
func API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello\n") // a client that went away
	})
	mux.HandleFunc("GET /stream", stream)
	mux.HandleFunc("GET /socket", socket)
	return mux
}

func stream(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for n := 0; ; n++ {
		if _, err := fmt.Fprintf(w, "%d\n", n); err != nil || out.Flush() != nil {
			return // nobody reads any more
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// socket switches protocols as a WebSocket does, and echoes.
func socket(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		http.Error(w, "no upgrade was asked for", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }() // both sides have ended
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n")
	_, _ = io.Copy(conn, buffered) // how it ends makes no difference
}

// protocol is what the socket is upgraded to.
const protocol = "websocket"
