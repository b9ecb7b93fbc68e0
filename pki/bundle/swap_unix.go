//go:build !windows

package bundle

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// giveTo gives a new file the owner and the group of another one.
func giveTo(f *os.File, like fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	have, ok := info.Sys().(*syscall.Stat_t)
	want, also := like.Sys().(*syscall.Stat_t)
	if !ok || !also || have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
		return fmt.Errorf("keeping its owner (user %d, group %d): %w", want.Uid, want.Gid, err)
	}
	return nil
}
