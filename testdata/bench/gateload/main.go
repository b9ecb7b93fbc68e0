// Gateload is what gate.sh measures with: an upstream that costs next to nothing,
// proxies that do nothing but what Go's standard library makes easy, clients with
// certificates, and a judge of how long a revoked client goes on. It runs on
// Linux.
//
//	gateload upstream LISTEN
//	gateload proxy LISTEN TO CERT CA    a bare httputil.ReverseProxy
//	gateload pipe LISTEN TO CERT CA     a bare copy of octets
//	gateload wait ADDRESS               until it answers whom it should, and nobody else
//	gateload handshakes ADDRESS,PID...  a connection for each request
//	gateload requests ADDRESS,PID...    one connection for all
//	gateload idle ADDRESS PID           prints octets for each connection
//	gateload cuts PKI ADDRESS           how revocation takes effect at a gate
//	gateload refusals PKI ADDRESS LIST COMMAND...
//	                                    and at a proxy that COMMAND tells of the list
//
// CERT is a chain in CERT.crt and its key in CERT.key. Whoever is a client takes
// certificates from -clients, and takes only -server for the server.
package main

import (
	"flag"
	"fmt"
	"log"
	"slices"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gateload: ")
	var c clients
	flag.StringVar(&c.dir, "clients", "", "take client certificates from `DIR`")
	flag.StringVar(&c.server, "server", "", "take the server for who has the certificate in `FILE`")
	flag.DurationVar(&c.duration, "duration", 4*time.Second, "make load for `TIME` on each server")
	flag.IntVar(&c.parallel, "parallel", 16, "over `N` connections at once")
	flag.IntVar(&c.conns, "conns", 1000, "have `N` connections")
	flag.IntVar(&c.revokes, "revokes", 200, "revoke `N` certificates")
	flag.DurationVar(&c.linger, "linger", 2*time.Second, "count the streams that are open after `TIME`")
	flag.StringVar(&c.mutual, "mutual", "mutual", "revoke with `FILE`")
	flag.Parse()
	arg := flag.Args()
	if len(arg) == 0 {
		log.Fatal("nothing to do")
	}
	name, arg := arg[0], arg[1:]
	need := map[string]int{"upstream": 1, "proxy": 4, "pipe": 4, "wait": 1, "handshakes": 1, "requests": 1, "idle": 2, "cuts": 2, "refusals": 4}[name]
	if need == 0 || len(arg) < need {
		log.Fatalf("%s: there is no such thing to do, or it needs more words", name)
	}
	var err error
	switch name {
	case "upstream":
		err = upstream(arg[0])
	case "proxy":
		err = proxy(arg[0], arg[1], arg[2], arg[3])
	case "pipe":
		err = pipe(arg[0], arg[1], arg[2], arg[3])
	case "wait":
		err = c.wait(arg[0])
	case "handshakes":
		err = c.load(arg, handshakes)
	case "requests":
		err = c.load(arg, requests)
	case "idle":
		err = c.idle(arg[0], arg[1])
	case "cuts":
		err = c.cuts(arg[0], arg[1])
	case "refusals":
		err = c.refusals(arg[0], arg[1], arg[2], arg[3:])
	}
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
}

// percentile sorts, and gives the time that a part of all does not exceed.
func percentile(all []time.Duration, part float64) time.Duration {
	slices.Sort(all)
	return all[min(len(all)-1, int(part*float64(len(all))))]
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()*1000) }
