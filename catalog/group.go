package catalog

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// group is a set of files that are one table.
type group struct {
	files    []*file // in order of path
	location string  // folder relative to the root, "." for the root itself
	folders  int     // that files lie in; Hive partitions count as their parent
	why      string
}

// node is the files of one layout in one folder.
type node struct {
	folder string
	layout int
	keys   bool // lies in Hive partitions
	files  []*file
}

// maxSchemas bounds the schemas that are compared with one another.
const maxSchemas = 3000

// groupFiles divides files, which are in order of path, into tables. The result depends on the set
// of files and their layouts only.
//
// Two layouts agree when the columns of one are among those of the other and the types they share
// widen without loss. Some columns are two at least, and between folders half of the larger layout's,
// so that a list of ids does not tie strangers together. Agreement is passed on: a table is a
// connected set.
func groupFiles(files []*file, layouts []Layout, how Grouping) ([]*group, error) {
	nodes := nodesOf(files)
	if how != GroupOne {
		if err := boundSchemas(nodes, layouts); err != nil {
			return nil, err
		}
	}
	sets := newSets(len(nodes))
	switch how {
	case GroupOne:
		for i := range nodes {
			sets.join(0, i)
		}
	default:
		joinFolders(nodes, layouts, sets)
		if how == GroupAuto {
			joinSchemas(nodes, layouts, sets)
		}
	}
	byRoot := map[int]*group{}
	members := map[int][]*node{}
	var out []*group
	for i, n := range nodes {
		r := sets.find(i)
		g := byRoot[r]
		if g == nil {
			g = &group{}
			byRoot[r] = g
			out = append(out, g)
		}
		g.files = append(g.files, n.files...)
		members[r] = append(members[r], n)
	}
	for r, g := range byRoot {
		g.finish(members[r], layouts, how)
	}
	slices.SortFunc(out, func(a, b *group) int { return strings.Compare(a.files[0].path, b.files[0].path) })
	return out, nil
}

func nodesOf(files []*file) []*node {
	type place struct {
		folder string
		layout int
		keys   bool
	}
	at := map[place]*node{}
	var nodes []*node
	for _, f := range files {
		folder, keys := datasetFolder(f.path)
		p := place{folder, f.layout, keys}
		if at[p] == nil {
			at[p] = &node{folder: folder, layout: f.layout, keys: keys}
			nodes = append(nodes, at[p])
		}
		at[p].files = append(at[p].files, f)
	}
	return nodes
}

// joinFolders joins what agrees in one folder, and everything in its Hive partitions.
func joinFolders(nodes []*node, layouts []Layout, s sets) {
	byFolder := map[string][]int{}
	for i, n := range nodes {
		byFolder[n.folder] = append(byFolder[n.folder], i)
	}
	for _, list := range byFolder {
		for a, i := range list {
			for _, j := range list[a+1:] {
				if nodes[i].keys && nodes[j].keys || s.find(i) != s.find(j) && agree(layouts[nodes[i].layout], layouts[nodes[j].layout], true) {
					s.join(i, j)
				}
			}
		}
	}
}

// boundSchemas refuses more schemas than can be compared with one another.
func boundSchemas(nodes []*node, layouts []Layout) error {
	distinct := map[string]bool{}
	for _, n := range nodes {
		distinct[schemaKey(layouts[n.layout])] = true
	}
	if len(distinct) > maxSchemas {
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("the files have more than %d different schemas", maxSchemas),
			Hint: "crawl a folder further down, or group them as one table (group: one, --group one)"}
	}
	return nil
}

// joinSchemas joins what agrees between folders.
func joinSchemas(nodes []*node, layouts []Layout, s sets) {
	first := map[string]int{} // schema → the first node of it
	var distinct []int
	for i, n := range nodes {
		key := schemaKey(layouts[n.layout])
		if j, ok := first[key]; ok {
			s.join(j, i)
			continue
		}
		first[key] = i
		distinct = append(distinct, i)
	}
	for a, i := range distinct {
		for _, j := range distinct[a+1:] {
			if s.find(i) != s.find(j) && agree(layouts[nodes[i].layout], layouts[nodes[j].layout], false) {
				s.join(i, j)
			}
		}
	}
}

// schemaKey is the same for layouts with the same columns.
func schemaKey(l Layout) string {
	names := make([]string, len(l.Columns))
	for i, c := range l.Columns {
		names[i] = fold(c.Name) + "\x00" + c.Type
	}
	slices.Sort(names)
	return fmt.Sprint(l.textual()) + strings.Join(names, "\x01")
}

func agree(a, b Layout, sameFolder bool) bool {
	if len(a.Columns) > len(b.Columns) {
		a, b = b, a
	}
	if len(a.Columns) < len(b.Columns) && (len(a.Columns) < 2 || !sameFolder && 2*len(a.Columns) < len(b.Columns)) {
		return false
	}
	types := make(map[string]tarn.Type, len(b.Columns))
	for _, c := range b.Columns {
		types[fold(c.Name)] = c.typeOf()
	}
	for _, c := range a.Columns {
		other, ok := types[fold(c.Name)]
		if !ok {
			return false
		}
		t := c.typeOf()
		if _, alike := widen(t, other); !alike && !misread(a, t, b, other) {
			return false
		}
	}
	return true
}

// misread reports types that differ only because a type was read off text: one odd value makes a
// column of numbers a column of text.
func misread(a Layout, at tarn.Type, b Layout, bt tarn.Type) bool {
	return at.Kind == tarn.String && b.textual() || bt.Kind == tarn.String && a.textual()
}

// finish fills in where the group lies and why it is one.
func (g *group) finish(nodes []*node, layouts []Layout, how Grouping) {
	slices.SortFunc(g.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	folders, schemas := map[string]bool{}, map[string]bool{}
	keys := false
	for i, n := range nodes {
		folders[n.folder] = true
		schemas[schemaKey(layouts[n.layout])] = true
		keys = keys || n.keys
		if i == 0 {
			g.location = n.folder
		}
		g.location = commonFolder(g.location, n.folder)
	}
	g.folders = len(folders)
	what := plural(len(g.files), "file")
	if g.folders > 1 {
		what += " in " + plural(g.folders, "folder")
	}
	switch {
	case how == GroupOne && len(schemas) > 1:
		g.why = what + " with " + plural(len(schemas), "schema") + ", one table because the crawler says so"
	case len(schemas) == 1 && len(g.files) == 1:
		g.why = "one file"
	case len(schemas) == 1:
		g.why = what + " with the same columns"
	case keys && g.folders == 1:
		g.why = what + " in Hive partitions of one folder, with " + plural(len(schemas), "schema")
	default:
		g.why = what + " with " + plural(len(schemas), "schema") + " that agree: shared columns have types that widen, and the columns of one are among those of another"
	}
}

func commonFolder(a, b string) string {
	for a != b && a != "." {
		if strings.HasPrefix(b, a+"/") {
			return a
		}
		a = path.Dir(a)
	}
	return a
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sets is a union-find forest.
type sets []int

func newSets(n int) sets {
	s := make(sets, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func (s sets) find(i int) int {
	for s[i] != i {
		s[i] = s[s[i]]
		i = s[i]
	}
	return i
}

// join keeps the smaller index as the root, so that the order of joins does not show.
func (s sets) join(i, j int) {
	i, j = s.find(i), s.find(j)
	s[max(i, j)] = min(i, j)
}
