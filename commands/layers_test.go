package commands

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is a Go file of the module.
type source struct {
	path    string // from the root of the module, with slashes
	test    bool
	file    *ast.File
	fset    *token.FileSet
	imports map[string]string // the name in this file → the path
}

// folder is the folder of the file, "." for the root.
func (s source) folder() string { return path.Dir(s.path) }

// in reports whether the file is in folder or below it.
func (s source) in(folder string) bool {
	return s.folder() == folder || strings.HasPrefix(s.folder(), folder+"/")
}

// sources are all Go files of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		s := source{path: name, test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet(), imports: map[string]string{}}
		if s.file, err = parser.ParseFile(s.fset, name, text, parser.SkipObjectResolution); err != nil {
			return err
		}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			local := path.Base(imported)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			s.imports[local] = imported
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d Go files were found", len(all))
	}
	return all
}

// uses gives the positions where the file uses a name of an imported package,
// such as os.Exit. A name that ends with "*" stands for all that begin so.
func (s source) uses(names ...string) []string {
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := selector.X.(*ast.Ident)
		if !ok || s.imports[x.Name] == "" {
			return true
		}
		used := s.imports[x.Name] + "." + selector.Sel.Name
		for _, name := range names {
			prefix, all := strings.CutSuffix(name, "*")
			if used == name || all && strings.HasPrefix(used, prefix) {
				found = append(found, s.fset.Position(n.Pos()).String()+": "+used)
			}
		}
		return true
	})
	return found
}

// layers gives for each package of the module the ones that it may import.
// Every package below pki may import pki.
func layers() map[string][]string {
	return map[string][]string{
		".":                    {"commands"},
		"commands":             {"commands/ui", "pki/*"},
		"commands/ui":          {},
		"commands/crash":       {}, // tests only
		"pki":                  {},
		"pki/internal/durable": {},
		"pki/internal/large":   {},
		"pki/internal/pkcs12":  {"pki/keys"},
		"pki/keys":             {},
		"pki/pemfile":          {"pki/keys", "pki/internal/large"},
		"pki/profile":          {"pki/keys"},
		"pki/crl":              {"pki/keys", "pki/internal/large"},
		"pki/authority":        {"pki/profile", "pki/keys", "pki/crl"},
		"pki/store":            {"pki/authority", "pki/profile", "pki/keys", "pki/crl", "pki/pemfile", "pki/internal/durable"},
		"pki/chain":            {"pki/crl", "pki/keys"},
		"pki/bundle":           {"pki/keys", "pki/pemfile", "pki/internal/durable", "pki/internal/pkcs12"},
		"pki/batch":            {"pki/store", "pki/bundle", "pki/keys", "pki/pemfile"},
		"pki/renew":            {"pki/store", "pki/bundle", "pki/keys", "pki/pemfile"},
		"pki/probe":            {"pki/keys", "pki/chain"},
		"pki/gate":             {"pki/store", "pki/chain", "pki/crl", "pki/keys", "pki/pemfile", "pki/internal/durable"},
		"pki/gate/proof":       {},
		"pki/pkitest":          {"pki/*"},
		"pki/pkitest/tools":    {},
	}
}

func TestImportsPointOneWay(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		allowed, known := layers()[s.folder()]
		if !known {
			t.Errorf("%s: the folder %s has no place in the layers", s.path, s.folder())
			continue
		}
		if s.in("pki") && s.folder() != "pki" {
			allowed = append(allowed, "pki")
		}
		for _, imported := range s.imports {
			target, ours := strings.CutPrefix(imported, "mutual/")
			if !ours {
				continue
			}
			wild := slices.Contains(allowed, "pki/*") && (target == "pki" || strings.HasPrefix(target, "pki/")) &&
				target != "pki/pkitest"
			if !wild && !slices.Contains(allowed, target) {
				t.Errorf("%s imports %s", s.path, imported)
			}
		}
	}
}

// One package draws; the others hand it text with a meaning.
func TestOnlyUIDraws(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.imports {
			for _, library := range []string{"github.com/charmbracelet/", "github.com/fatih/color", "github.com/muesli/termenv", "github.com/schollz/progressbar"} {
				if strings.HasPrefix(imported, library) && s.folder() != "commands/ui" {
					t.Errorf("%s imports %s", s.path, imported)
				}
			}
		}
		// These are bound to the process's own standard output or ask the
		// terminal what it looks like.
		const lipgloss = "github.com/charmbracelet/lipgloss."
		for _, use := range s.uses(lipgloss+"NewStyle", lipgloss+"DefaultRenderer", lipgloss+"HasDarkBackground",
			lipgloss+"AdaptiveColor", lipgloss+"CompleteAdaptiveColor", "github.com/fatih/color.NoColor") {
			t.Error(use)
		}
	}
}

// The library takes values and returns values: it has no clock, reads no
// flag, no variable and no terminal, prints nothing and ends nothing.
func TestTheLibraryTouchesNoProcess(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !s.in("pki") || s.in("pki/pkitest") { // which only tests import
			continue
		}
		for _, use := range s.uses("time.Now", "time.Since", "time.Until", "os.Getenv", "os.LookupEnv", "os.Environ", "os.Args",
			"os.Stdin", "os.Stdout", "os.Stderr", "fmt.Print*", "flag.*", "log.Print*", "log.Default", "log.Output", "log.Set*",
			"log/slog.*", "os/signal.*") {
			t.Error(use)
		}
		if s.folder() == "pki" && len(s.uses("os.*", "net.Dial*", "net.Listen*", "net.Lookup*", "net/http.*", "database/sql.*")) > 0 {
			t.Errorf("%s does input or output", s.path)
		}
	}
}

// The commands see the process only through Env.
func TestOnlyEnvReadsTheProcess(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !s.in("commands") || s.path == "commands/env.go" {
			continue
		}
		for _, use := range s.uses("time.Now", "time.Since", "time.Until", "os.Getenv", "os.LookupEnv", "os.Environ", "os.Args",
			"os.Stdin", "os.Stdout", "os.Stderr", "fmt.Print*", "flag.*", "log.Print*", "log.Default", "log.Output", "log.Set*") {
			t.Error(use)
		}
	}
}

func TestOnlyMainExits(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.path == "main.go" {
			continue
		}
		for _, use := range s.uses("os.Exit", "log.Fatal*", "log.Panic*", "syscall.Exit", "github.com/urfave/cli/v2.Exit",
			"github.com/urfave/cli/v2.NewExitError") {
			t.Error(use)
		}
	}
}

// VerifyPeerCertificate is not called for a resumed session, so a revoked
// client would come back with its ticket; VerifyConnection always is.
func TestNobodySetsVerifyPeerCertificate(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == "VerifyPeer"+"Certificate" {
				t.Errorf("%v", s.fset.Position(n.Pos()))
			}
			return true
		})
	}
}

func TestMainIsShort(t *testing.T) {
	text, err := os.ReadFile("../main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")); lines > 25 {
		t.Errorf("main.go has %d lines, and 25 are allowed", lines)
	}
}

func TestTopLevelIsFixed(t *testing.T) {
	allowed := []string{
		"main.go", "commands", "pki", "testdata", "go.mod", "go.sum", ".goreleaser.yaml", "README.md",
		".ci", ".gitignore", ".gitattributes", "LICENSE",
		".git", "mutual", "mutual.exe", "cover.out", "dist", "dist-extra", // not part of the source
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
}
