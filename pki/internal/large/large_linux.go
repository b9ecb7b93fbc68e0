package large

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// advise asks for huge pages for what lies in b as whole pages. It is advice: an
// error changes nothing.
func advise(b []byte) {
	page := uintptr(os.Getpagesize())
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (page - 1)
	whole := (uintptr(len(b)) - skip) &^ (page - 1)
	_ = unix.Madvise(b[skip:skip+whole], unix.MADV_HUGEPAGE)
}
