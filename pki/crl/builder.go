package crl

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"mutual/pki"
	"mutual/pki/internal/large"
	"mutual/pki/keys"
)

// ErrCannotSplice says that a list cannot be made of an earlier one: not all
// entries of that are as Create writes them, it is another CA's, or newer.
var ErrCannotSplice = errors.New("the earlier list cannot be made into this one")

var errTooLarge = errors.New("the list is larger than 4 GiB")

// Builder makes a list of entries that are given one by one, or of an earlier
// list and what has changed since. It keeps their encoding, not the entries.
type Builder struct {
	template Template
	octets   []byte   // entries, and of those to drop the INTEGERs of their serials
	offsets  []uint32 // where each begins
}

// Built is what a Builder has made.
type Built struct {
	*List
	Added   int // entries that the earlier list did not have
	Removed int // entries that only the earlier list had
}

// NewBuilder begins a list of the template, whose entries are its first. size
// is about how many will be put.
func NewBuilder(t Template, size int) *Builder {
	return &Builder{template: t, octets: make([]byte, 0, 50*size), offsets: make([]uint32, 0, size)}
}

// Put adds an entry, or replaces that of the earlier list. A serial may be put
// once.
func (b *Builder) Put(e Entry) error {
	if err := e.check(b.template.ThisUpdate); err != nil {
		return fmt.Errorf("the entry of serial %s: %w", e.Serial, err)
	}
	if err := b.begin(); err != nil {
		return err
	}
	b.octets = appendEntry(b.octets, e)
	return nil
}

// Drop leaves an entry of the earlier list out, unless the serial is put, too.
func (b *Builder) Drop(serial pki.Serial) error {
	if err := b.begin(); err != nil {
		return err
	}
	b.octets = appendTLV(b.octets, 0x02, serial.Octets())
	return nil
}

func (b *Builder) begin() error {
	if len(b.octets) > math.MaxUint32-1<<16 {
		return errTooLarge
	}
	b.offsets = append(b.offsets, uint32(len(b.octets)))
	return nil
}

// isPut tells an entry from one to drop.
func (b *Builder) isPut(offset uint32) bool { return b.octets[offset] == 0x30 }

func (b *Builder) serialAt(offset uint32) []byte {
	if b.isPut(offset) {
		return serialOf(b.octets[offset:])
	}
	return readElement(b.octets[offset:])
}

// Build encodes and signs the list: Create for the entries of the earlier list,
// of which there may be none, with the changes. It reads back what it has
// signed. The builder is used up.
func (b *Builder) Build(earlier *List, signer crypto.Signer) (*Built, error) {
	built, err := b.build(earlier, signer)
	if err != nil {
		return nil, fmt.Errorf("creating a revocation list: %w", err)
	}
	return built, nil
}

func (b *Builder) build(earlier *List, signer crypto.Signer) (*Built, error) {
	if earlier == nil {
		earlier = &List{canonical: true, issuer: b.template.Issuer}
	}
	algorithm, err := keys.AlgorithmIdentifier(signer.Public())
	if err != nil {
		return nil, err
	}
	built := &Built{}
	e, err := b.layOut(earlier, algorithm, built)
	if err != nil {
		return nil, err
	}
	if built.List, err = e.sign(signer); err != nil {
		return nil, err
	}
	if want := earlier.Len() + built.Added - built.Removed; built.Len() != want {
		return nil, fmt.Errorf("what was signed has %d entries instead of %d", built.Len(), want)
	}
	return built, nil
}

// layOut checks everything and encodes the entries.
func (b *Builder) layOut(earlier *List, algorithm []byte, count *Built) (*envelope, error) {
	if err := b.template.check(); err != nil {
		return nil, err
	}
	if !earlier.canonical || !bytes.Equal(earlier.issuer, b.template.Issuer) || b.template.ThisUpdate.Before(earlier.thisUpdate) {
		return nil, ErrCannotSplice
	}
	for _, e := range b.template.Entries {
		if err := b.Put(e); err != nil {
			return nil, err
		}
	}
	if err := b.sort(); err != nil {
		return nil, err
	}
	e := newEnvelope(&b.template, algorithm, len(earlier.entries)+len(b.octets))
	e.out = b.merge(e.out, earlier, count)
	b.octets, b.offsets = nil, nil // as large as the list: not beside it any longer
	if len(e.out) > math.MaxUint32-1<<16 {
		return nil, errTooLarge
	}
	return e, nil
}

// sort brings the changes into the order of the serials, one for each.
func (b *Builder) sort() error {
	sortBySerial(b.offsets, b.serialAt)
	kept := b.offsets[:0]
	for _, o := range b.offsets {
		last := len(kept) - 1
		switch {
		case last < 0 || !bytes.Equal(b.serialAt(kept[last]), b.serialAt(o)):
			kept = append(kept, o)
		case !b.isPut(o):
		case b.isPut(kept[last]):
			serial, _ := pki.SerialFromOctets(b.serialAt(o)) // it was one
			return fmt.Errorf("the serial %s is there twice", serial)
		default:
			kept[last] = o
		}
	}
	b.offsets = kept
	return nil
}

// merge appends the content of revokedCertificates: the octets of the earlier
// list, and between them what is put.
func (b *Builder) merge(out []byte, earlier *List, count *Built) []byte {
	copied, at := 0, 0 // octets and entries of the earlier list
	for _, o := range b.offsets {
		serial := b.serialAt(o)
		at = earlier.search(at, serial)
		start := earlier.offset(at)
		out = append(out, earlier.entries[copied:start]...)
		copied = start
		known := at < earlier.Len() && bytes.Equal(earlier.serialAt(earlier.index[at]), serial)
		if known {
			at++
			copied = earlier.offset(at)
		}
		switch put := b.isPut(o); {
		case put:
			n := elementSize(b.octets[o:])
			out = append(out, b.octets[o:int(o)+n]...)
			if !known {
				count.Added++
			}
		case known:
			count.Removed++
		}
	}
	return append(out, earlier.entries[copied:]...)
}

// offset gives where the entry with the number begins in a sorted list, and for
// the number after the last where that ends.
func (l *List) offset(i int) int {
	if i == len(l.index) {
		return len(l.entries)
	}
	return int(l.index[i])
}

// search gives the number of the first entry from number at on whose serial is
// not smaller. It looks near first: many changes are close to each other.
func (l *List) search(at int, serial []byte) int {
	below, step := at, 1
	for below+step <= len(l.index) && compareIntegers(l.serialAt(l.index[below+step-1]), serial) < 0 {
		below += step
		step *= 2
	}
	return below + sort.Search(min(step-1, len(l.index)-below), func(i int) bool {
		return compareIntegers(l.serialAt(l.index[below+i]), serial) >= 0
	})
}

// envelope is what stands around the content of revokedCertificates. The list
// is laid out once: room is left for what is only known after its end.
type envelope struct {
	template  *Template
	algorithm []byte
	head      []byte // of the tbsCertList, up to revokedCertificates
	room      int    // for head and headers, before the entries
	out       []byte
}

// headers is the room for the headers of CertificateList, tbsCertList and
// revokedCertificates: a tag and up to nine octets of length each.
const headers = 3 * 10

func newEnvelope(t *Template, algorithm []byte, size int) *envelope {
	head := []byte{0x02, 0x01, 0x01} // v2
	head = append(head, algorithm...)
	head = append(head, t.Issuer...)
	head = appendTime(head, t.ThisUpdate)
	head = appendTime(head, t.NextUpdate)
	e := &envelope{template: t, algorithm: algorithm, head: head, room: headers + len(head)}
	const signature = 1 << 10 // RSA with 8192 bits fits
	e.out = large.Make(e.room + size + len(t.AuthorityKeyID) + signature + len(algorithm) + 128)[:e.room]
	return e
}

// before puts octets before what begins at start and gives where they begin.
func (e *envelope) before(start int, octets []byte) int {
	return start - copy(e.out[start-len(octets):], octets)
}

// closeTBS completes the tbsCertList around the entries.
func (e *envelope) closeTBS() (start int) {
	start = e.room
	if n := len(e.out) - e.room; n > 0 {
		start = e.before(start, appendHeader(nil, 0x30, n))
	}
	start = e.before(start, e.head)
	e.out = append(e.out, e.template.extensions()...)
	return e.before(start, appendHeader(nil, 0x30, len(e.out)-start))
}

// sign signs, and reads back what is signed while it is hashed. The entries
// stand in out.
func (e *envelope) sign(signer crypto.Signer) (*List, error) {
	start := e.closeTBS()
	tbs := e.out[start:]
	list := &List{algorithm: e.algorithm}
	var refused unsupported
	read := make(chan error, 1)
	go func() { read <- list.parseTBS(tbs, &refused) }()
	digest, err := keys.Digest(signer.Public(), tbs)
	readErr := <-read
	if err != nil {
		return nil, err
	}
	if readErr != nil || refused.feature != "" {
		return nil, fmt.Errorf("reading back what is signed: %w", errors.Join(readErr, refused.err()))
	}
	signature, err := digest.Sign(signer)
	if err != nil {
		return nil, err
	}
	// A fault while signing can give the key away and locks everyone out.
	if err := digest.Verify(signer.Public(), signature); err != nil {
		return nil, fmt.Errorf("checking what was signed: %w", err)
	}
	e.out = append(e.out, e.algorithm...)
	e.out = appendTLV(e.out, 0x03, slices.Concat([]byte{0}, signature))
	whole := e.before(start, appendHeader(nil, 0x30, len(e.out)-start))
	list.raw, list.digest = e.out[whole:], &digest
	return list, list.parseList()
}
