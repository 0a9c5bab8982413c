package infer

import (
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// Schema returns the columns of the table in order of first sight, declared ones first.
func (s *State) Schema() tarn.Schema {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return tarn.Schema{Fields: s.cur.columns()}
}

func (s *schema) columns() []tarn.Field {
	fs := s.root.fields()
	if s.restUsed {
		fs = append(fs, s.restField())
	}
	return fs
}

// Input is how DuckDB reads the records: SELECT Select FROM read_json(…, columns = Read) gives
// rows of State.Schema. Pass records = true: left to itself, read_json guesses from the data whether
// a line is a record, and with one column guesses wrong.
type Input struct {
	// Read names the columns for read_json. Some have another type than in the table: read strictly,
	// read_json drops the offset of a timestamp, cuts "2026-11-20T03:00:00Z" to a DATE and drops the
	// offset of a TIME, all silently.
	Read tarn.Schema
	// Select is the select list that turns them into the table's types, "*" when all are the same.
	Select string
}

// Input returns how DuckDB has to read the records. It depends on the schema only.
func (s *State) Input() Input {
	cols := s.Schema().Fields
	in := Input{Select: "*"}
	list, same := make([]string, len(cols)), true
	for i, f := range cols {
		name := tarn.QuoteIdent(f.Name)
		expr := convert(name, f.Type, 0)
		if list[i] = name; expr != name {
			list[i], same = expr+" AS "+name, false
		}
		f.Type = readAs(f.Type)
		in.Read.Fields = append(in.Read.Fields, f)
	}
	if !same {
		in.Select = strings.Join(list, ", ")
	}
	return in
}

// readAs returns the type read_json is asked for.
func readAs(t tarn.Type) tarn.Type {
	switch t.Kind {
	case tarn.Timestamp:
		return tarn.Type{Kind: tarn.TimestampTZ} // heeds offsets; a time without one counts as UTC
	case tarn.Date, tarn.Time:
		return tarn.Type{Kind: tarn.String}
	case tarn.List, tarn.Map:
		elem := *t.Elem
		elem.Type = readAs(elem.Type)
		t.Elem = &elem
	case tarn.Struct:
		fs := make([]tarn.Field, len(t.Fields))
		for i, f := range t.Fields {
			f.Type = readAs(f.Type)
			fs[i] = f
		}
		t.Fields = fs
	}
	return t
}

// convert returns the SQL expression that turns x, read as readAs(t), into t. It returns x itself
// when there is nothing to do. depth keeps lambda parameters apart.
func convert(x string, t tarn.Type, depth int) string {
	switch t.Kind {
	case tarn.Timestamp:
		// As fast as reading TIMESTAMP, which a cast through the ICU extension is not. Infinite times
		// have no microseconds and would become NULL.
		return "CASE WHEN isfinite(" + x + ") THEN make_timestamp(epoch_us(" + x + ")) WHEN " + x + " IS NOT NULL THEN error('an infinite timestamp has no place in a table') END"
	case tarn.Date:
		at := "strptime(" + x + ", '%Y-%m-%d')" // unlike a cast, it refuses text after the day
		return "CASE WHEN isfinite(" + at + ") THEN CAST(" + at + " AS DATE) WHEN " + x + " IS NOT NULL THEN error('an infinite date has no place in a table') END"
	case tarn.Time:
		return "CASE WHEN " + x + " IS NULL OR regexp_full_match(" + x + ", '" + timeOfDayPattern + "') THEN CAST(" + x + " AS TIME) ELSE error('not a time of the form 03:00:00.5: ' || " + x + ") END"
	case tarn.List:
		e := "e" + strconv.Itoa(depth)
		if inner := convert(e, t.Elem.Type, depth+1); inner != e {
			return "list_transform(" + x + ", lambda " + e + ": " + inner + ")"
		}
	case tarn.Map:
		e := "e" + strconv.Itoa(depth)
		if inner := convert(e, t.Elem.Type, depth+1); inner != e {
			return "CASE WHEN " + x + " IS NULL THEN NULL ELSE map(map_keys(" + x + "), list_transform(map_values(" + x + "), lambda " + e + ": " + inner + ")) END"
		}
	case tarn.Struct:
		parts, same := make([]string, len(t.Fields)), true
		for i, f := range t.Fields {
			name := tarn.QuoteIdent(f.Name)
			member := "struct_extract(" + x + ", " + tarn.QuoteLiteral(f.Name) + ")"
			inner := convert(member, f.Type, depth)
			same = same && inner == member
			parts[i] = name + " := " + inner
		}
		if !same {
			return "CASE WHEN " + x + " IS NULL THEN NULL ELSE struct_pack(" + strings.Join(parts, ", ") + ") END"
		}
	}
	return x
}
