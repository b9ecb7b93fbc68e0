package gate

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// metrics are what a gate counts, for Prometheus.
type metrics struct {
	handshakes counters // by how they ended
	requests   counters // by the hundreds of the status
	refused    counters // requests, by why
	cuts       counters // connections, by why
	duration   histogram
}

// counters count by the value of one label.
type counters struct {
	mu sync.RWMutex
	of map[string]*atomic.Int64
}

func (c *counters) add(label string) {
	c.mu.RLock()
	n := c.of[label]
	c.mu.RUnlock()
	if n == nil {
		c.mu.Lock()
		if c.of == nil {
			c.of = map[string]*atomic.Int64{}
		}
		if n = c.of[label]; n == nil {
			n = new(atomic.Int64)
			c.of[label] = n
		}
		c.mu.Unlock()
	}
	n.Add(1)
}

func (c *counters) write(w *bytes.Buffer, name, help, label string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	describe(w, name, help, "counter")
	for _, value := range slices.Sorted(maps.Keys(c.of)) {
		fmt.Fprintf(w, "%s{%s=%q} %d\n", name, label, value, c.of[value].Load())
	}
}

// bounds of the buckets of a histogram, in seconds.
var bounds = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60}

// histogram counts durations.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Int64
	sum     atomic.Int64 // nanoseconds
}

func (h *histogram) add(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d.Seconds())
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) write(w *bytes.Buffer, name, help string) {
	describe(w, name, help, "histogram")
	var n int64
	for i := range h.buckets {
		n += h.buckets[i].Load()
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		fmt.Fprintf(w, "%s_bucket{le=%q} %d\n", name, le, n)
	}
	fmt.Fprintf(w, "%s_sum %g\n%s_count %d\n", name, time.Duration(h.sum.Load()).Seconds(), name, n)
}

func gauge(w *bytes.Buffer, name, help string, value float64) {
	describe(w, name, help, "gauge")
	fmt.Fprintf(w, "%s %s\n", name, strconv.FormatFloat(value, 'f', -1, 64))
}

func describe(w *bytes.Buffer, name, help, kind string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// handshake counts one; the code says why it was refused.
func (m *metrics) handshake(code Code) {
	if code == "" {
		code = "ok"
	}
	m.handshakes.add(string(code))
}

func (m *metrics) cut(code Code) { m.cuts.add(string(code)) }

func (m *metrics) request(status int, took time.Duration) {
	classes := [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
	m.requests.add(classes[min(max(status/100, 0), len(classes)-1)])
	m.duration.add(took)
}

func (m *metrics) refusedRequest(code Code) { m.refused.add(string(code)) }

// WriteMetrics writes what the gate has counted in the text format of Prometheus.
func (g *Gate) WriteMetrics(out io.Writer) error {
	w, m := new(bytes.Buffer), &g.metrics
	conns, certs := g.index.size()
	gauge(w, "mutual_gate_connections", "Connections that are open.", float64(conns))
	gauge(w, "mutual_gate_certificates", "Client certificates that have connections.", float64(certs))
	m.handshakes.write(w, "mutual_gate_handshakes_total", "TLS handshakes, by how they ended.", "result")
	m.requests.write(w, "mutual_gate_requests_total", "Requests that were answered, by the class of the status.", "status")
	m.refused.write(w, "mutual_gate_refused_requests_total", "Requests that were refused, by why.", "code")
	m.cuts.write(w, "mutual_gate_cuts_total", "Connections that were cut, by why.", "code")
	m.duration.write(w, "mutual_gate_request_duration_seconds", "How long requests took.")
	if e := g.epoch.Load(); e != nil {
		gauge(w, "mutual_gate_epoch", "The newest change of who is let in that is in force.", float64(e.Number))
	}
	if last := g.lastGood.Load(); last != nil {
		gauge(w, "mutual_gate_source_age_seconds", "How long ago what says who is revoked was read.", g.now().Sub(*last).Seconds())
	}
	gauge(w, "mutual_gate_log_dropped_lines", "Lines of the access log for which there was no room.", float64(g.config.Log.Dropped()))
	gauge(w, "mutual_gate_log_failing", "Whether the last write of the access log failed.", float64(count(g.config.Log.broken() != nil)))
	gauge(w, "mutual_gate_warnings", "What a person should look at, as it was said on standard error.", float64(g.warnings.Load()))
	if cert := g.config.Certificate.current.Load(); cert != nil {
		gauge(w, "mutual_gate_server_certificate_not_after_seconds", "When the server's certificate ends, in Unix time.", float64(cert.Leaf.NotAfter.Unix()))
	}
	_, err := out.Write(w.Bytes())
	return err
}
