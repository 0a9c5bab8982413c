package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tarn-data/tarn"
)

// withoutNulls takes out of the types of JSON columns the parts that are NULL in every record: a
// sniffer calls them JSON, which would widen the numbers of another file to text. A list that is
// always empty, and a struct of nothing else, leave a column of no type.
func (c *crawl) withoutNulls(ctx context.Context, full string, size int64, r *content) error {
	nested := false
	for _, col := range r.layout.Columns {
		t := col.typeOf()
		nested = nested || t.Kind != tarn.JSON && holdsJSON(t)
	}
	if !nested {
		return nil
	}
	v, err := c.db.Values(ctx, fmt.Sprintf("SELECT json_group_structure(json)::VARCHAR FROM read_json_objects(%s%s)", pathList([]string{full}), jsonArguments(r.layout, size)))
	if err != nil {
		return err
	}
	text, _ := v[0][0].(string)
	var structure map[string]any
	if err := json.Unmarshal([]byte(text), &structure); err != nil {
		return nil // not records alone: the types stay as they are
	}
	for i := range r.layout.Columns {
		col := &r.layout.Columns[i]
		if t := col.typeOf(); holdsJSON(t) {
			t, known := prune(t, structure[col.Name])
			if col.Type = ""; known {
				col.Type = t.SQL()
			}
		}
	}
	return nil
}

func holdsJSON(t tarn.Type) bool {
	for _, f := range t.Fields {
		if holdsJSON(f.Type) {
			return true
		}
	}
	return t.Kind == tarn.JSON || t.Elem != nil && holdsJSON(t.Elem.Type)
}

// prune returns the part of a type that has values, and whether there is any. structure is what
// DuckDB's json_structure says of the same values: an object, a list of one, or the name of a type.
func prune(t tarn.Type, structure any) (tarn.Type, bool) {
	if structure == "NULL" {
		return t, false
	}
	switch t.Kind {
	case tarn.Struct:
		members, ok := structure.(map[string]any)
		if !ok {
			return t, true
		}
		var kept []tarn.Field
		for _, f := range t.Fields {
			if inner, known := prune(f.Type, members[f.Name]); known {
				kept = append(kept, tarn.Field{Name: f.Name, Type: inner})
			}
		}
		t.Fields = kept
		return t, len(kept) > 0
	case tarn.List:
		if elems, ok := structure.([]any); ok && len(elems) == 1 {
			inner, known := prune(t.Elem.Type, elems[0])
			t.Elem = &tarn.Field{Name: t.Elem.Name, Type: inner}
			return t, known
		}
	}
	return t, true
}
