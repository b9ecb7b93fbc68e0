// Loop does on all cores what issuing cannot do without, and nothing else: for
// each certificate it makes a P-256 key, signs once and checks the signature.
// Its rate is the physical limit of a batch.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	n := flag.Int64("n", 100_000, "so many `certificates`")
	flag.Parse()
	issuer := newKey()
	var done atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := done.Add(1); i <= *n; i = done.Add(1) {
				once(issuer, i)
			}
		})
	}
	workers.Wait()
	fmt.Printf("%.3f\n", time.Since(began).Seconds())
}

// once is one certificate. Its subject key is in what is signed.
func once(issuer *ecdsa.PrivateKey, i int64) {
	public, err := newKey().PublicKey.Bytes()
	if err != nil {
		log.Fatal(err)
	}
	sum := sha256.Sum256(fmt.Appendf(public, "%d", i))
	signature, err := ecdsa.SignASN1(rand.Reader, issuer, sum[:])
	if err != nil {
		log.Fatal(err)
	}
	if !ecdsa.VerifyASN1(&issuer.PublicKey, sum[:], signature) {
		log.Fatal("the signature is not good")
	}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return key
}
