package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository is the root of the source tree, seen from this package.
const repository = "../.."

// block is a fenced block of a page, with what the comment right before it says.
type block struct {
	line   int    // of the opening fence
	info   string // after the fence
	text   string
	repeat bool   // <!-- repeat -->
	file   string // <!-- file: NAME -->
}

// fences returns the fenced blocks of a page.
func fences(page string) []block {
	var all []block
	var cur *block
	next := block{}
	for i, line := range strings.Split(page, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case cur != nil && fence:
			all = append(all, *cur)
			cur = nil
		case cur != nil:
			cur.text += line + "\n"
		case fence:
			next.line, next.info = i+1, info
			b := next
			cur, next = &b, block{}
		case line == "<!-- repeat -->":
			next.repeat = true
		case strings.HasPrefix(line, "<!-- file: "):
			next.file = strings.TrimSuffix(strings.TrimPrefix(line, "<!-- file: "), " -->")
		case line != "":
			next = block{}
		}
	}
	return all
}

// TestReadmeShowsFiles holds that files shown in the README are as shown.
func TestReadmeShowsFiles(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, b := range fences(string(readme)) {
		if b.file == "" {
			continue
		}
		shown++
		file, err := os.ReadFile(filepath.Join(repository, b.file))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(file), b.text); d != "" {
			t.Errorf("README.md:%d: %s (-file +README):\n%s", b.line, b.file, d)
		}
	}
	if shown == 0 {
		t.Error("the README shows no file")
	}
}

// TestLinks holds that links between the pages lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, target)
			}
		}
	}
}

// TestHowTosAreListed holds that the index of the how-tos has every page.
func TestHowTosAreListed(t *testing.T) {
	dir := filepath.Join(repository, "docs", "howto")
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "*.md"))
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(string(index), "("+name+")") {
			t.Errorf("docs/howto/README.md does not list %s", name)
		}
	}
}

// TestPagesNameTests holds that tests and benchmarks that the pages name are there.
func TestPagesNameTests(t *testing.T) {
	defined := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			defined[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`")
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			if !defined[m[1]] {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
	}
}

// pages returns the README and what lies below docs and examples.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{filepath.Join(repository, "README.md")}
	for _, root := range []string{"docs", "examples"} {
		err := filepath.WalkDir(filepath.Join(repository, root), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == ".tarn" {
				return fs.SkipDir
			}
			if err == nil && filepath.Ext(path) == ".md" {
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
