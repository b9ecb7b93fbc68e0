// Mutual is a certificate toolkit for certificate-based API authentication.
package main

import (
	"os"

	"mutual/commands"
)

// version is set by the linker: -X main.version=v1.2.3.
var version string

func main() {
	os.Exit(commands.Main(os.Args[1:], commands.SystemEnv(version)))
}
