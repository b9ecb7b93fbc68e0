//go:build !windows

package bundle

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkOwn refuses a hidden directory that another user has made: what stands in
// it says which files are replaced.
func checkOwn(info fs.FileInfo) error {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || ok && int(sys.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%q is not a directory of this user's, and a renewal would use it", info.Name())
	}
	return nil
}

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
