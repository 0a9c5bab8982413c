package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// SchemaColumn is a column of a table in one version of its schema. Its JSON form is stored.
type SchemaColumn struct {
	ID        int    `json:"id"` // never changes over the life of the column
	Name      string `json:"name"`
	Type      string `json:"type"`                // SQL
	Partition bool   `json:"partition,omitempty"` // its values are names of folders
	Unknown   bool   `json:"unknown,omitempty"`   // no file has had a value yet: Type is VARCHAR until one has
}

func (c SchemaColumn) typeOf() tarn.Type {
	if c.Unknown {
		return tarn.Type{}
	}
	t, _ := tarn.ParseType(c.Type) // written by setType
	return t
}

func (c *SchemaColumn) setType(t tarn.Type) {
	c.Unknown = t.Kind == tarn.Invalid
	if c.Unknown {
		t = tarn.Type{Kind: tarn.String}
	}
	c.Type = t.SQL()
}

func tableSchema(columns []SchemaColumn) tarn.Schema {
	s := tarn.Schema{Fields: make([]tarn.Field, len(columns))}
	for i, c := range columns {
		t, _ := tarn.ParseType(c.Type)
		s.Fields[i] = tarn.Field{ID: c.ID, Name: c.Name, Type: t}
	}
	return s
}

func columnIndex(columns []SchemaColumn, name string) int {
	return slices.IndexFunc(columns, func(c SchemaColumn) bool { return fold(c.Name) == fold(name) })
}

// schemaOf returns the columns that the files have, in the order they first stand in, and then the
// partition columns. Of a column and a partition of one name the partition is read, as DuckDB does.
func schemaOf(files []*file, layouts []Layout) []SchemaColumn {
	var data, parts []SchemaColumn
	add := func(list *[]SchemaColumn, name string, t tarn.Type, isPartition bool) {
		i := columnIndex(*list, name)
		if i < 0 {
			i = len(*list)
			*list = append(*list, SchemaColumn{Name: name, Partition: isPartition, Unknown: true})
		}
		c := &(*list)[i]
		w, _ := widen(c.typeOf(), t)
		c.setType(w)
	}
	seen := map[int]bool{}
	for _, f := range files {
		for _, p := range f.parts {
			t := tarn.Type{}
			if !p.null {
				t = valueType(p.value)
			}
			add(&parts, p.key, t, true)
		}
		if !seen[f.layout] {
			seen[f.layout] = true
			for _, c := range layouts[f.layout].Columns {
				add(&data, c.Name, c.typeOf(), false)
			}
		}
	}
	data = slices.DeleteFunc(data, func(c SchemaColumn) bool { return columnIndex(parts, c.Name) >= 0 })
	return append(data, parts...)
}

// evolve returns the next version of a schema after files have been found that hold the columns of
// have, and what changed; no changes when the schema stays. Columns keep their ids; next is the first
// id that has never been used.
func evolve(old, have []SchemaColumn, how OnSchemaChange, next int) (columns []SchemaColumn, changes []string) {
	if how == IgnoreChange {
		return old, nil
	}
	if how == NewVersion {
		return replace(old, have, next)
	}
	columns = slices.Clone(old)
	for _, h := range have {
		i := columnIndex(columns, h.Name)
		if i < 0 {
			h.ID = next
			next++
			columns = append(columns, h)
			changes = append(changes, fmt.Sprintf("new column %s %s", h.Name, h.Type))
			continue
		}
		c := &columns[i]
		before, was := c.Type, *c
		w, _ := widen(c.typeOf(), h.typeOf())
		c.setType(w)
		c.Partition = h.Partition
		if c.Type != before {
			changes = append(changes, fmt.Sprintf("%s is %s, was %s", c.Name, c.Type, before))
		} else if *c != was {
			changes = append(changes, c.Name+" is known to be "+c.Type)
		}
	}
	return columns, changes
}

// replace makes the schema exactly what the files have.
func replace(old, have []SchemaColumn, next int) (columns []SchemaColumn, changes []string) {
	columns = slices.Clone(have)
	for i := range columns {
		c := &columns[i]
		at := columnIndex(old, c.Name)
		if at < 0 {
			c.ID = next
			next++
			changes = append(changes, fmt.Sprintf("new column %s %s", c.Name, c.Type))
			continue
		}
		c.ID = old[at].ID
		if o := old[at]; o.Type != c.Type {
			changes = append(changes, fmt.Sprintf("%s is %s, was %s", c.Name, c.Type, o.Type))
		} else if o != *c {
			changes = append(changes, c.Name+" is read otherwise")
		}
	}
	for _, o := range old {
		if columnIndex(columns, o.Name) < 0 {
			changes = append(changes, "column "+o.Name+" is gone")
		}
	}
	if len(changes) == 0 && !slices.Equal(old, columns) {
		changes = append(changes, "the order of the columns")
	}
	return columns, changes
}

// misfits says which columns and partitions of a file cannot be read into a schema that stays as it
// is, "" for none.
func misfits(l Layout, parts []partition, columns []SchemaColumn) string {
	var why []string
	for _, c := range l.Columns {
		i := columnIndex(columns, c.Name)
		if i < 0 || columns[i].Partition || c.Type == "" {
			continue
		}
		if want, _ := tarn.ParseType(columns[i].Type); !fits(c.typeOf(), want) {
			why = append(why, fmt.Sprintf("%s is %s where the table has %s", c.Name, c.Type, columns[i].Type))
		}
	}
	for _, p := range parts {
		i := columnIndex(columns, p.key)
		if i < 0 {
			continue
		}
		if want, _ := tarn.ParseType(columns[i].Type); !p.null {
			if _, ok := p.bound(want); !ok {
				why = append(why, fmt.Sprintf("the partition %s=%s is no %s", p.key, p.value, columns[i].Type))
			}
		}
	}
	return strings.Join(why, ", ")
}
