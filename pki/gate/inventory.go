package gate

import (
	"errors"
	"fmt"
	"time"

	"mutual/pki/chain"
	"mutual/pki/store"
)

// InventoryStatus says what the inventory of a PKI knows of a certificate, or that
// err came of looking it up. One that is genuine and not in it is not good: somebody
// else may have the CA's key.
func InventoryStatus(known store.Certificate, err error) chain.RevocationStatus {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return chain.RevocationStatus{Detail: "it is not in the inventory of this PKI"}
	case err != nil:
		return chain.RevocationStatus{Detail: err.Error()}
	case known.Revocation != nil:
		r := known.Revocation
		return chain.RevocationStatus{Outcome: chain.Bad, Revoked: true, Reason: r.Reason, At: r.Done,
			Detail: fmt.Sprintf("revoked at %s: %s", r.Done.UTC().Format(time.RFC3339), r.Reason)}
	case known.Retired:
		return chain.RevocationStatus{Detail: "the CA that issued it is retired, and no list speaks for it any more"}
	}
	return chain.RevocationStatus{Outcome: chain.Good, Detail: "the inventory knows it"}
}
