package catalog

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// nameGroups gives each group a table name without its zone. A group keeps the name of the table
// most of its files were in; new names come from folders, or files where byFile says so or several
// groups lie in one folder, and avoid taken.
func nameGroups(groups []*group, root string, wanted string, byFile bool, taken map[string]bool) map[*group]string {
	if wanted != "" && len(groups) == 1 {
		return map[*group]string{groups[0]: wanted}
	}
	names := keepNames(groups)
	used := map[string]bool{}
	for _, n := range names {
		used[n] = true
	}
	alone := map[string]int{} // location → groups there
	for _, g := range groups {
		alone[g.location]++
	}
	// The largest group of a folder is called like it, the others by what their files are called.
	bySize := slices.Clone(groups)
	slices.SortStableFunc(bySize, func(a, b *group) int { return cmp.Compare(len(b.files), len(a.files)) })
	largest := map[string]bool{} // locations whose largest group has been named
	for _, g := range bySize {
		first := !largest[g.location]
		largest[g.location] = true
		if names[g] != "" {
			continue
		}
		for _, n := range candidates(g, root, !byFile && (alone[g.location] == 1 || first && len(g.files) > 1)) {
			if !used[n] && !taken[n] {
				names[g] = n
				used[n] = true
				break
			}
		}
	}
	return names
}

// keepNames finds the names that groups have from earlier crawls: the group with the most files of
// a table keeps its name.
func keepNames(groups []*group) map[*group]string {
	type claim struct {
		g     *group
		table string
		files int
	}
	var claims []claim
	for _, g := range groups {
		count := map[string]int{}
		for _, f := range g.files {
			if f.table != "" {
				count[f.table]++
			}
		}
		for t, n := range count {
			claims = append(claims, claim{g, t, n})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(b.files, a.files), strings.Compare(a.table, b.table), strings.Compare(a.g.files[0].path, b.g.files[0].path))
	})
	names, given := map[*group]string{}, map[string]bool{}
	for _, c := range claims {
		if names[c.g] == "" && !given[c.table] {
			_, name, _ := strings.Cut(c.table, ".")
			names[c.g], given[c.table] = name, true
		}
	}
	return names
}

// candidates are names for a group, best first, without end: the last kind carries a number.
func candidates(g *group, root string, alone bool) func(func(int, string) bool) {
	full := path.Join(filepath.ToSlash(root), g.location)
	base := tableName(path.Base(stripKeys(full)))
	parent := tableName(path.Base(path.Dir(stripKeys(full))))
	list := []string{base, tableName(parent + "_" + base)}
	if !alone {
		list = list[:1]
		if label := tableName(commonLabel(g)); label != "t" {
			list = []string{label, tableName(base + "_" + label)}
		}
	}
	return func(yield func(int, string) bool) {
		for i, n := range list {
			if !yield(i, n) {
				return
			}
		}
		for i := 2; ; i++ {
			suffix := fmt.Sprintf("_%d", i)
			if !yield(i, list[0][:min(len(list[0]), 63-len(suffix))]+suffix) {
				return
			}
		}
	}
}

// stripKeys takes Hive partitions off the end of a folder.
func stripKeys(folder string) string {
	for {
		if _, ok := hive(path.Base(folder)); !ok {
			return folder
		}
		folder = path.Dir(folder)
	}
}

// commonLabel is what the names of a group's folders or files below its location begin with.
func commonLabel(g *group) string {
	prefix, first := "", true
	for _, f := range g.files {
		rest := f.path
		if g.location != "." {
			rest = strings.TrimPrefix(rest, g.location+"/")
		}
		name, _, deeper := strings.Cut(rest, "/")
		if _, ok := hive(name); ok {
			continue
		}
		if !deeper {
			name, _, _ = strings.Cut(name, ".")
		}
		if first {
			prefix, first = name, false
		}
		for !strings.HasPrefix(name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if len(g.files) > 1 {
		prefix = strings.TrimRight(prefix, "0123456789-_. ")
	}
	return prefix
}

// tableName makes a name that needs no quotes of any text: a-z first, then a-z, 0-9 and _.
func tableName(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
			continue
		}
		gap = true
	}
	name := b.String()
	if name == "" || name[0] < 'a' {
		name = strings.TrimSuffix("t_"+name, "_")
	}
	return name[:min(len(name), 63)]
}
