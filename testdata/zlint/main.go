// Command zlint lints certificates and CRLs against the standards that
// mutual promises to meet. It is a program with a go.mod of its own so that
// the linter's dependencies stay out of mutual's.
//
//	zlint FILE...
//
// A file holds certificates and CRLs as PEM, or one of either as DER. Each
// finding at warning or above is a line with file, lint, level and details;
// the last line counts what was applied. Exit codes: 0 nothing found, 1
// something found or an object to which no lint applied, 2 wrong usage or
// unreadable input.
package main

import (
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(paths []string, stdout, stderr io.Writer) int {
	if len(paths) == 0 {
		fmt.Fprintln(stderr, "zlint: usage: zlint FILE...")
		return 2
	}
	registry, err := standards()
	if err != nil {
		fmt.Fprintf(stderr, "zlint: %v\n", err)
		return 2
	}
	var objects []object
	for _, path := range paths {
		found, err := load(path)
		if err != nil {
			fmt.Fprintf(stderr, "zlint: %v\n", err)
			return 2
		}
		objects = append(objects, found...)
	}
	var applied, findings int
	for _, o := range objects {
		a, f := report(stdout, o, registry)
		applied += a
		findings += f
	}
	fmt.Fprintf(stdout, "zlint: %d objects, %d lints applied, %d findings\n", len(objects), applied, findings)
	if findings > 0 {
		return 1
	}
	return 0
}

// standards selects the sources that apply to a private PKI: the IETF's
// documents and the community's experience, not the rules of the web's
// certificate authorities.
func standards() (lint.Registry, error) {
	registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{
		IncludeSources: lint.SourceList{
			lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891,
			lint.RFC6960, lint.RFC8813, lint.Community,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("selecting lints: %w", err)
	}
	return registry, nil
}

// report writes o's findings in the order of the lints' names and returns how
// many lints applied and how many lines it wrote. That no lint applied is
// itself a finding: an object that was not judged must not pass.
func report(w io.Writer, o object, registry lint.Registry) (applied, findings int) {
	var set *zlint.ResultSet
	if o.list != nil {
		set = zlint.LintRevocationListEx(o.list, registry)
	} else {
		set = zlint.LintCertificateEx(o.certificate, registry)
	}
	names := make([]string, 0, len(set.Results))
	for name, result := range set.Results {
		if result.Status >= lint.Pass {
			applied++
		}
		if result.Status >= lint.Warn {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		result := set.Results[name]
		fmt.Fprintf(w, "%s: %s: %s: %s\n", o.name, name, result.Status, details(result))
	}
	if applied == 0 {
		fmt.Fprintf(w, "%s: none: fatal: no lint applied\n", o.name)
		return 0, 1
	}
	return applied, len(names)
}

// details is what the lint said about this object, or its rule where it says
// nothing.
func details(result *lint.LintResult) string {
	if result.Details != "" {
		return result.Details
	}
	return fmt.Sprintf("%s (%s)", result.LintMetadata.Description, result.LintMetadata.Citation)
}
