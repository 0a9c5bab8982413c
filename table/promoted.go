package table

import "github.com/tarn-data/tarn"

// Promoted reports whether some column of st had another name or type under its field id once, so
// that older files hold it in that form and must be read through the schema. It costs a walk over
// all schemas of the table; the answer for one schema never changes.
func (st *State) Promoted() (bool, error) {
	now := map[int]string{}
	leaves(st.Schema.Fields, "", func(id int, what string) { now[id] = what })
	promoted := false
	for _, s := range st.meta.schemas {
		old, err := tarnSchema(s, st.meta.json())
		if err != nil {
			return false, err
		}
		leaves(old.Fields, "", func(id int, what string) {
			if w, ok := now[id]; ok && w != what {
				promoted = true
			}
		})
	}
	return promoted, nil
}

// leaves calls f with the id of every leaf field and its path and type as one text.
func leaves(fields []tarn.Field, path string, f func(id int, what string)) {
	for _, c := range fields {
		at := path + "." + tarn.QuoteIdent(c.Name)
		switch c.Type.Kind {
		case tarn.Struct:
			leaves(c.Type.Fields, at, f)
		case tarn.List:
			leaves([]tarn.Field{*c.Type.Elem}, at, f)
		case tarn.Map:
			leaves([]tarn.Field{*c.Type.Key, *c.Type.Elem}, at, f)
		default:
			f(c.ID, at+" "+c.Type.SQL())
		}
	}
}
