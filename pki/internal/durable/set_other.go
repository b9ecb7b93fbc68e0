//go:build !linux

package durable

import (
	"errors"
	"io/fs"
	"os"
)

// disk is the file system of a directory: here each file is flushed alone.
type disk struct{ dir string }

func openDisk(dir string) (*disk, error) { return &disk{dir}, nil }

func (d *disk) finish(f *os.File, err error, mode fs.FileMode) error { return finish(f, err, mode) }

func (d *disk) flush() error { return SyncDir(d.dir) }

func (d *disk) close() {}

func moveNew(string, string) error { return errors.ErrUnsupported }
