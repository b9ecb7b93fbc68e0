package durable

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// rename replaces to, and tries for a second while another program has it
// open.
func rename(from, to string) error {
	const tries, pause = 50, 20 * time.Millisecond
	var err error
	for range tries {
		err = os.Rename(from, to)
		if !errors.Is(err, windows.ERROR_ACCESS_DENIED) && !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
			return err
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("%q cannot be replaced, perhaps because another program has it open: %w", to, cause(err))
}

// SyncDir does nothing: Windows cannot flush directories.
func SyncDir(string) error { return nil }
