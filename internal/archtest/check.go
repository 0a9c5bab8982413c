package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// check returns one line per broken rule: the place, what is wrong, the rule and its reason.
func check(modulePath string, files []file) []string {
	var faults []string
	fail := func(where, what, rule, why string) {
		faults = append(faults, fmt.Sprintf("%s: %s\n\trule: %s\n\twhy:  %s", where, what, rule, why))
	}
	documented := map[string]bool{}
	for _, f := range files {
		documented[f.pkg] = documented[f.pkg] || f.doc && !f.test
	}
	seen := map[string]bool{}
	for _, f := range files {
		if !seen[f.pkg] && !f.test {
			seen[f.pkg] = true
			if _, floor := place(f.pkg); floor < 0 && !isTestOnly(f.pkg) {
				fail(f.pkg, "the package stands on no floor", "every package is placed in internal/archtest/rules.go",
					"the way of the data is read from the tree; a package without a place has no agreed direction of imports")
			}
			if !documented[f.pkg] {
				fail(f.pkg, "the package has no package comment", "every package says in doc.go what enters, what leaves and who calls",
					"a stranger reads the package comment first")
			}
			if slices.Contains(badNames, path.Base(f.pkg)) {
				fail(f.pkg, "the package name says nothing", "packages are named for what they hold", "a drawer for everything never stops growing")
			}
		}
		if f.lines > maxLines && !f.gen {
			fail(f.path, fmt.Sprintf("%d lines", f.lines), fmt.Sprintf("a file has at most %d lines", maxLines),
				"a file is read in one sitting, and a longer one holds more than one subject")
		}
		for _, line := range f.inits {
			if !f.gen {
				fail(fmt.Sprintf("%s:%d", f.path, line), "an init function", "no init functions",
					"two engines run side by side in one process; what a package needs is made in New and held by its caller")
			}
		}
		if !f.test {
			checkImports(modulePath, f, fail)
		}
	}
	return faults
}

func checkImports(modulePath string, f file, fail func(where, what, rule, why string)) {
	for _, imp := range f.imports {
		for _, o := range owners {
			mine := slices.ContainsFunc(o.only, func(pkg string) bool { return under(f.pkg, pkg) })
			if under(imp, o.importPath) && !mine && !isTestOnly(f.pkg) {
				fail(f.path, "imports "+imp, "only "+strings.Join(o.only, " and ")+" imports "+o.importPath, o.why)
			}
		}
		if f.pkg == root && strings.Contains(strings.Split(imp, "/")[0], ".") {
			fail(f.path, "imports "+imp, "the root package imports the standard library only",
				"every package imports the nouns, so the nouns must cost nothing and depend on nobody")
		}
		if imp != modulePath && !strings.HasPrefix(imp, modulePath+"/") || isTestOnly(f.pkg) {
			continue
		}
		to := strings.TrimPrefix(strings.TrimPrefix(imp, modulePath), "/")
		if to == "" {
			to = root
		}
		if isTestOnly(to) {
			fail(f.path, "imports "+to, "packages for tests are imported by tests only", "what ships must not carry the test harness")
			continue
		}
		fromEntry, from := place(f.pkg)
		toEntry, target := place(to)
		switch {
		case from < 0 || target < 0 || fromEntry == toEntry: // unplaced packages have their own fault
		case target < from:
			fail(f.path, fmt.Sprintf("imports %s from %s", to, f.pkg), "imports point down the floors",
				"a lower floor that knows a higher one cannot be understood, tested or replaced without it; call upwards through a function or interface that is passed in")
		case target == from:
			fail(f.path, fmt.Sprintf("imports %s from %s", to, f.pkg), "packages on one floor do not import each other",
				"parts that know each other become one part; the floor above brings them together")
		}
	}
}

// place returns the entry of floors that covers pkg and its floor, or -1.
func place(pkg string) (entry string, floor int) {
	for n, entries := range floors {
		for _, e := range entries {
			if under(pkg, e) {
				return e, n
			}
		}
	}
	return "", -1
}

// under reports whether pkg is base or below it. The root package covers itself only.
func under(pkg, base string) bool {
	return pkg == base || base != root && strings.HasPrefix(pkg, base+"/")
}

func isTestOnly(pkg string) bool {
	return slices.ContainsFunc(testOnly, func(e string) bool { return under(pkg, e) })
}
