package catalog

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/avro"

	"github.com/tarn-data/tarn"
)

// avroColumns returns the columns of a record schema. Instants are TIMESTAMP WITH TIME ZONE, local
// times TIMESTAMP; a union of null and one type is that type; other unions, and records that hold
// themselves, are JSON.
func avroColumns(root *avro.SchemaNode) ([]tarn.Field, error) {
	if root.Type != "record" {
		return nil, refuse(Unsupported, "its Avro schema is not a record but "+root.Type)
	}
	r := avroReader{defined: map[string]*avro.SchemaNode{}}
	r.define(root)
	return r.typeOf(root).Fields, nil
}

// avroReader turns Avro types into column types.
type avroReader struct {
	defined map[string]*avro.SchemaNode // named types
	inside  []string                    // names of the records around the current type
}

// define collects the named types under n, by full name and, where that is clear, by short name.
func (r *avroReader) define(n *avro.SchemaNode) {
	if n.Name != "" {
		r.defined[fullName(n)] = n
		if r.defined[n.Name] == nil {
			r.defined[n.Name] = n
		}
	}
	for i := range n.Fields {
		r.define(&n.Fields[i].Type)
	}
	for i := range n.Branches {
		r.define(&n.Branches[i])
	}
	for _, in := range []*avro.SchemaNode{n.Items, n.Values} {
		if in != nil {
			r.define(in)
		}
	}
}

func fullName(n *avro.SchemaNode) string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "." + n.Name
}

var avroKinds = map[string]tarn.Kind{"boolean": tarn.Boolean, "int": tarn.Int, "long": tarn.Long, "float": tarn.Float, "double": tarn.Double,
	"bytes": tarn.Binary, "fixed": tarn.Binary, "string": tarn.String, "enum": tarn.String}

var avroLogical = map[string]tarn.Kind{"date": tarn.Date, "time-millis": tarn.Time, "time-micros": tarn.Time,
	"timestamp-millis": tarn.TimestampTZ, "timestamp-micros": tarn.TimestampTZ, "timestamp-nanos": tarn.TimestampTZ,
	"local-timestamp-millis": tarn.Timestamp, "local-timestamp-micros": tarn.Timestamp, "local-timestamp-nanos": tarn.Timestamp,
	"uuid": tarn.UUID, "big-decimal": tarn.String, "duration": tarn.String}

func (r *avroReader) typeOf(n *avro.SchemaNode) tarn.Type {
	if len(r.inside) > 24 {
		return tarn.Type{Kind: tarn.JSON}
	}
	if k, ok := avroLogical[n.LogicalType]; ok {
		return tarn.Type{Kind: k}
	}
	if n.LogicalType == "decimal" && n.Precision <= 38 {
		return tarn.Type{Kind: tarn.Decimal, Precision: n.Precision, Scale: n.Scale}
	}
	if k, ok := avroKinds[n.Type]; ok {
		return tarn.Type{Kind: k}
	}
	switch n.Type {
	case "array":
		return tarn.Type{Kind: tarn.List, Elem: &tarn.Field{Name: "element", Type: r.typeOf(n.Items)}}
	case "map":
		return tarn.Type{Kind: tarn.Map, Key: &tarn.Field{Name: "key", Type: tarn.Type{Kind: tarn.String}}, Elem: &tarn.Field{Name: "value", Type: r.typeOf(n.Values)}}
	case "record", "error":
		return r.record(n)
	case "union":
		return r.union(n)
	}
	if d := r.defined[n.Type]; d != nil {
		return r.typeOf(d)
	}
	return tarn.Type{Kind: tarn.JSON} // null alone
}

func (r *avroReader) record(n *avro.SchemaNode) tarn.Type {
	name := fullName(n)
	if slices.Contains(r.inside, name) || len(n.Fields) == 0 {
		return tarn.Type{Kind: tarn.JSON}
	}
	r.inside = append(r.inside, name)
	t := tarn.Type{Kind: tarn.Struct}
	for i := range n.Fields {
		t.Fields = append(t.Fields, tarn.Field{Name: n.Fields[i].Name, Type: r.typeOf(&n.Fields[i].Type)})
	}
	r.inside = r.inside[:len(r.inside)-1]
	return t
}

func (r *avroReader) union(n *avro.SchemaNode) tarn.Type {
	var one *avro.SchemaNode
	for i := range n.Branches {
		if n.Branches[i].Type == "null" {
			continue
		}
		if one != nil {
			return tarn.Type{Kind: tarn.JSON}
		}
		one = &n.Branches[i]
	}
	if one == nil {
		return tarn.Type{Kind: tarn.JSON}
	}
	return r.typeOf(one)
}

// appendAvro appends a decoded value as JSON that DuckDB reads as type t.
func appendAvro(b []byte, v any, t tarn.Type) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int32:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float32:
		return appendFloat(b, float64(v), 32), nil
	case float64:
		return appendFloat(b, v, 64), nil
	case []byte:
		return appendBytes(b, v), nil
	case [16]byte:
		return fmt.Appendf(b, `"%x-%x-%x-%x-%x"`, v[:4], v[4:6], v[6:8], v[8:10], v[10:]), nil
	case time.Time:
		return appendTime(b, v, t), nil
	case time.Duration:
		return append(time.Time{}.Add(v).AppendFormat(append(b, '"'), "15:04:05.999999"), '"'), nil
	case *big.Rat:
		scale := t.Scale
		if t.Kind != tarn.Decimal {
			scale, _ = v.FloatPrec()
		}
		return append(append(append(b, '"'), v.FloatString(scale)...), '"'), nil
	case []any:
		return appendList(b, v, t)
	case map[string]any:
		return appendMembers(b, v, t)
	}
	text, err := json.Marshal(fmt.Sprint(v))
	if s, ok := v.(string); ok {
		text, err = json.Marshal(s)
	}
	return append(b, text...), err
}

// appendFloat writes what JSON has no number for as text, which casts to the number.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, bits)
}

// appendBytes writes \xHH for every byte, which casts from text to a BLOB.
func appendBytes(b, v []byte) []byte {
	b = append(b, '"')
	for i := range v {
		b = hex.AppendEncode(append(b, `\\x`...), v[i:i+1])
	}
	return append(b, '"')
}

func appendTime(b []byte, v time.Time, t tarn.Type) []byte {
	layout := "2006-01-02 15:04:05.999999"
	switch t.Kind {
	case tarn.Date:
		layout = time.DateOnly
	case tarn.TimestampTZ, tarn.JSON:
		layout += "+00"
	}
	return append(v.UTC().AppendFormat(append(b, '"'), layout), '"')
}

func appendList(b []byte, list []any, t tarn.Type) ([]byte, error) {
	elem := tarn.Type{Kind: tarn.JSON}
	if t.Kind == tarn.List {
		elem = t.Elem.Type
	}
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendAvro(b, v, elem); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendMembers(b []byte, members map[string]any, t tarn.Type) ([]byte, error) {
	b = append(b, '{')
	first := true
	for k, v := range members {
		in := tarn.Type{Kind: tarn.JSON}
		switch t.Kind {
		case tarn.Map:
			in = t.Elem.Type
		case tarn.Struct:
			if f := t.Lookup(k); f != nil {
				in = f.Type
			}
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		name, err := json.Marshal(k)
		if err != nil {
			return b, err
		}
		if b, err = appendAvro(append(append(b, name...), ':'), v, in); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// asText is the type with text in place of bytes, which JSON has no form for.
func asText(t tarn.Type) tarn.Type {
	inner := func(f *tarn.Field) *tarn.Field {
		if f == nil {
			return nil
		}
		return &tarn.Field{Name: f.Name, Type: asText(f.Type)}
	}
	if t.Kind == tarn.Binary {
		return tarn.Type{Kind: tarn.String}
	}
	t.Key, t.Elem = inner(t.Key), inner(t.Elem)
	fields := make([]tarn.Field, len(t.Fields))
	for i := range t.Fields {
		fields[i] = *inner(&t.Fields[i])
	}
	if t.Kind == tarn.Struct {
		t.Fields = fields
	}
	return t
}
