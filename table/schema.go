package table

import (
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"

	"github.com/tarn-data/tarn"
)

// icebergSchema converts a schema whose fields all have ids. JSON becomes string; the ids of JSON
// fields are kept in the table property propJSON.
func icebergSchema(id int, s tarn.Schema) (*iceberg.Schema, error) {
	fields, err := icebergFields(s.Fields)
	if err != nil {
		return nil, err
	}
	return iceberg.NewSchema(id, fields...), nil
}

func icebergFields(fields []tarn.Field) ([]iceberg.NestedField, error) {
	out := make([]iceberg.NestedField, len(fields))
	for i, f := range fields {
		t, err := icebergType(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		out[i] = iceberg.NestedField{ID: f.ID, Name: f.Name, Type: t, Required: f.Required, Doc: f.Doc}
	}
	return out, nil
}

func icebergType(t tarn.Type) (iceberg.Type, error) {
	switch t.Kind {
	case tarn.Boolean:
		return iceberg.PrimitiveTypes.Bool, nil
	case tarn.Int:
		return iceberg.PrimitiveTypes.Int32, nil
	case tarn.Long:
		return iceberg.PrimitiveTypes.Int64, nil
	case tarn.Float:
		return iceberg.PrimitiveTypes.Float32, nil
	case tarn.Double:
		return iceberg.PrimitiveTypes.Float64, nil
	case tarn.Decimal:
		return iceberg.DecimalTypeOf(t.Precision, t.Scale), nil
	case tarn.Date:
		return iceberg.PrimitiveTypes.Date, nil
	case tarn.Time:
		return iceberg.PrimitiveTypes.Time, nil
	case tarn.Timestamp:
		return iceberg.PrimitiveTypes.Timestamp, nil
	case tarn.TimestampTZ:
		return iceberg.PrimitiveTypes.TimestampTz, nil
	case tarn.String, tarn.JSON:
		return iceberg.PrimitiveTypes.String, nil
	case tarn.UUID:
		return iceberg.PrimitiveTypes.UUID, nil
	case tarn.Binary:
		return iceberg.PrimitiveTypes.Binary, nil
	case tarn.List:
		elem, err := icebergType(t.Elem.Type)
		if err != nil {
			return nil, err
		}
		return &iceberg.ListType{ElementID: t.Elem.ID, Element: elem, ElementRequired: t.Elem.Required}, nil
	case tarn.Map:
		key, err := icebergType(t.Key.Type)
		if err != nil {
			return nil, err
		}
		value, err := icebergType(t.Elem.Type)
		if err != nil {
			return nil, err
		}
		return &iceberg.MapType{KeyID: t.Key.ID, KeyType: key, ValueID: t.Elem.ID, ValueType: value, ValueRequired: t.Elem.Required}, nil
	case tarn.Struct:
		fields, err := icebergFields(t.Fields)
		if err != nil {
			return nil, err
		}
		return &iceberg.StructType{FieldList: fields}, nil
	}
	return nil, fmt.Errorf("the type %s has no Iceberg counterpart", t)
}

// tarnSchema is the inverse of icebergSchema; json holds the ids of JSON fields.
func tarnSchema(s *iceberg.Schema, json map[int]bool) (tarn.Schema, error) {
	fields, err := tarnFields(s.Fields(), json)
	return tarn.Schema{Fields: fields}, err
}

func tarnFields(in []iceberg.NestedField, json map[int]bool) ([]tarn.Field, error) {
	out := make([]tarn.Field, len(in))
	for i, f := range in {
		t, err := tarnType(f.Type, f.ID, json)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		out[i] = tarn.Field{ID: f.ID, Name: f.Name, Type: t, Required: f.Required, Doc: f.Doc}
	}
	return out, nil
}

func tarnType(t iceberg.Type, id int, json map[int]bool) (tarn.Type, error) {
	switch t := t.(type) {
	case iceberg.BooleanType:
		return tarn.Type{Kind: tarn.Boolean}, nil
	case iceberg.Int32Type:
		return tarn.Type{Kind: tarn.Int}, nil
	case iceberg.Int64Type:
		return tarn.Type{Kind: tarn.Long}, nil
	case iceberg.Float32Type:
		return tarn.Type{Kind: tarn.Float}, nil
	case iceberg.Float64Type:
		return tarn.Type{Kind: tarn.Double}, nil
	case iceberg.DecimalType:
		return tarn.Type{Kind: tarn.Decimal, Precision: t.Precision(), Scale: t.Scale()}, nil
	case iceberg.DateType:
		return tarn.Type{Kind: tarn.Date}, nil
	case iceberg.TimeType:
		return tarn.Type{Kind: tarn.Time}, nil
	case iceberg.TimestampType:
		return tarn.Type{Kind: tarn.Timestamp}, nil
	case iceberg.TimestampTzType:
		return tarn.Type{Kind: tarn.TimestampTZ}, nil
	case iceberg.StringType:
		if json[id] {
			return tarn.Type{Kind: tarn.JSON}, nil
		}
		return tarn.Type{Kind: tarn.String}, nil
	case iceberg.UUIDType:
		return tarn.Type{Kind: tarn.UUID}, nil
	case iceberg.BinaryType:
		return tarn.Type{Kind: tarn.Binary}, nil
	case *iceberg.ListType:
		elem, err := tarnType(t.Element, t.ElementID, json)
		return tarn.Type{Kind: tarn.List, Elem: &tarn.Field{ID: t.ElementID, Name: "element", Type: elem, Required: t.ElementRequired}}, err
	case *iceberg.MapType:
		key, err := tarnType(t.KeyType, t.KeyID, json)
		if err != nil {
			return tarn.Type{}, err
		}
		value, err := tarnType(t.ValueType, t.ValueID, json)
		return tarn.Type{Kind: tarn.Map, Key: &tarn.Field{ID: t.KeyID, Name: "key", Type: key, Required: true},
			Elem: &tarn.Field{ID: t.ValueID, Name: "value", Type: value, Required: t.ValueRequired}}, err
	case *iceberg.StructType:
		fields, err := tarnFields(t.FieldList, json)
		return tarn.Type{Kind: tarn.Struct, Fields: fields}, err
	}
	return tarn.Type{}, fmt.Errorf("the Iceberg type %s is not supported", t)
}

// visit calls fn for every field of the tree, parents first, with pointers into it. repeated says
// that the field lies inside a list or map, where Iceberg has no bounds.
func visit(fields []tarn.Field, repeated bool, fn func(f *tarn.Field, repeated bool)) {
	for i := range fields {
		visitField(&fields[i], repeated, fn)
	}
}

func visitField(f *tarn.Field, repeated bool, fn func(*tarn.Field, bool)) {
	fn(f, repeated)
	if f.Type.Key != nil {
		visitField(f.Type.Key, true, fn)
	}
	if f.Type.Elem != nil {
		visitField(f.Type.Elem, true, fn)
	}
	visit(f.Type.Fields, repeated, fn)
}

// cloneFields copies the tree so that it can be changed.
func cloneFields(in []tarn.Field) []tarn.Field {
	out := slices.Clone(in)
	for i := range out {
		out[i].Type = cloneType(out[i].Type)
	}
	return out
}

func cloneType(t tarn.Type) tarn.Type {
	if t.Key != nil {
		k := *t.Key
		k.Type = cloneType(k.Type)
		t.Key = &k
	}
	if t.Elem != nil {
		e := *t.Elem
		e.Type = cloneType(e.Type)
		t.Elem = &e
	}
	t.Fields = cloneFields(t.Fields)
	return t
}

// assignIDs gives every field of the tree the next ids after last and returns the last one given.
func assignIDs(fields []tarn.Field, last int) int {
	visit(fields, false, func(f *tarn.Field, _ bool) {
		last++
		f.ID = last
	})
	return last
}

// checkNames refuses empty and repeated names among siblings; DuckDB folds case, so those that
// differ only in case are repeated too.
func checkNames(fields []tarn.Field, where string) error {
	seen := map[string]string{}
	for _, f := range fields {
		key := fold(f.Name)
		if f.Name == "" {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: "a field of " + where + " has no name"}
		}
		if other, ok := seen[key]; ok {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the fields %q and %q of %s have the same name", other, f.Name, where),
				Hint: "SQL does not tell upper from lower case: rename one of them"}
		}
		seen[key] = f.Name
	}
	var err error
	visit(fields, false, func(f *tarn.Field, _ bool) {
		if err == nil && f.Type.Kind == tarn.Struct {
			err = checkNames(f.Type.Fields, f.Name)
		}
	})
	return err
}

// jsonIDs returns the ids of the JSON fields.
func jsonIDs(s tarn.Schema) []int {
	var ids []int
	visit(s.Fields, false, func(f *tarn.Field, _ bool) {
		if f.Type.Kind == tarn.JSON {
			ids = append(ids, f.ID)
		}
	})
	return ids
}
