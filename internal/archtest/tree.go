package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// file is one parsed source file.
type file struct {
	path    string // relative to the module, with slashes
	pkg     string // folder relative to the module; "." for the root package
	name    string // package clause
	test    bool
	doc     bool
	gen     bool
	lines   int
	imports []string
	inits   []int // lines of init functions
}

// module finds go.mod upwards from dir and returns its folder and module path.
func module(dir string) (folder, modulePath string, err error) {
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			for line := range strings.Lines(string(b)) {
				if rest, ok := strings.CutPrefix(line, "module "); ok {
					return dir, strings.TrimSpace(rest), nil
				}
			}
			return "", "", fmt.Errorf("%s/go.mod names no module", dir)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", "", fmt.Errorf("no go.mod above the test: %w", err)
		}
		dir = up
	}
}

// load parses every Go file of the module. Folders that the go command skips are skipped, and so are
// nested modules.
func load(fsys fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := path.Base(p)
			if p != "." && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(p, "go.mod")); p != "." && err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parse(fsys, p)
		files = append(files, f)
		return err
	})
	return files, err
}

func parse(fsys fs.FS, p string) (file, error) {
	src, err := fs.ReadFile(fsys, p)
	if err != nil {
		return file{}, err
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{
		path: p, pkg: path.Dir(p), name: tree.Name.Name,
		test:  strings.HasSuffix(p, "_test.go"),
		doc:   tree.Doc != nil,
		gen:   ast.IsGenerated(tree),
		lines: bytes.Count(src, []byte("\n")),
	}
	for _, spec := range tree.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, fmt.Errorf("%s: %w", p, err)
		}
		f.imports = append(f.imports, imp)
	}
	for _, decl := range tree.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			f.inits = append(f.inits, set.Position(fn.Pos()).Line)
		}
	}
	return f, nil
}
