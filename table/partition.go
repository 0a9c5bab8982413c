package table

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go"

	"github.com/tarn-data/tarn"
)

// hiveNull is the directory value that Hive, Spark and DuckDB read as null.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

func icebergTransform(f tarn.PartitionField) (iceberg.Transform, error) {
	switch f.Transform {
	case tarn.Identity:
		return iceberg.IdentityTransform{}, nil
	case tarn.Year:
		return iceberg.YearTransform{}, nil
	case tarn.Month:
		return iceberg.MonthTransform{}, nil
	case tarn.Day:
		return iceberg.DayTransform{}, nil
	case tarn.Hour:
		return iceberg.HourTransform{}, nil
	case tarn.Bucket:
		return iceberg.BucketTransform{NumBuckets: f.Param}, nil
	case tarn.Truncate:
		return iceberg.TruncateTransform{Width: f.Param}, nil
	}
	return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%q is no partition transform", f.Transform)}
}

// tarnPartition is the inverse of icebergSpec.
func tarnPartition(spec iceberg.PartitionSpec, schema *iceberg.Schema) ([]tarn.PartitionField, error) {
	var out []tarn.PartitionField
	for _, pf := range spec.Fields() {
		name, ok := schema.FindColumnName(pf.SourceID())
		if !ok {
			return nil, fmt.Errorf("partition field %s has no source column", pf.Name)
		}
		f := tarn.PartitionField{Source: name}
		switch t := pf.Transform.(type) {
		case iceberg.IdentityTransform:
			f.Transform = tarn.Identity
		case iceberg.YearTransform:
			f.Transform = tarn.Year
		case iceberg.MonthTransform:
			f.Transform = tarn.Month
		case iceberg.DayTransform:
			f.Transform = tarn.Day
		case iceberg.HourTransform:
			f.Transform = tarn.Hour
		case iceberg.BucketTransform:
			f.Transform, f.Param = tarn.Bucket, t.NumBuckets
		case iceberg.TruncateTransform:
			f.Transform, f.Param = tarn.Truncate, t.Width
		default:
			return nil, fmt.Errorf("the partition transform %s is not supported", pf.Transform)
		}
		out = append(out, f)
	}
	return out, nil
}

// source finds the column a partition field names: a top-level column of that name, else a dotted
// path through structs.
func source(s tarn.Schema, name string) *tarn.Field {
	if f := s.Lookup(name); f != nil {
		return f
	}
	fields := s.Fields
	for {
		head, rest, nested := strings.Cut(name, ".")
		f := tarn.Schema{Fields: fields}.Lookup(head)
		if f == nil || !nested {
			return f
		}
		if f.Type.Kind != tarn.Struct {
			return nil
		}
		fields, name = f.Type.Fields, rest
	}
}

// icebergSpec converts a partitioning of a schema with ids, refusing what Iceberg refuses.
func icebergSpec(fields []tarn.PartitionField, s tarn.Schema, is *iceberg.Schema) (iceberg.PartitionSpec, error) {
	var out []iceberg.PartitionField
	timed := map[string]tarn.PartitionField{}
	names := map[string]bool{}
	for i, f := range fields {
		col := source(s, f.Source)
		if col == nil {
			return iceberg.PartitionSpec{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("partition %s: there is no column %q", f, f.Source)}
		}
		t, err := icebergTransform(f)
		if err != nil {
			return iceberg.PartitionSpec{}, err
		}
		it, err := icebergType(col.Type)
		if err != nil || !t.CanTransform(it) || f.Transform == tarn.Hour && col.Type.Kind == tarn.Date {
			return iceberg.PartitionSpec{}, &tarn.Error{Code: tarn.CodeInvalid,
				Detail: fmt.Sprintf("partition %s: a column of type %s cannot be partitioned by %s", f, col.Type, f.Transform)}
		}
		if isTime(f.Transform) {
			if other, ok := timed[f.Source]; ok {
				return iceberg.PartitionSpec{}, &tarn.Error{Code: tarn.CodeInvalid,
					Detail: fmt.Sprintf("partition %s and %s: hours lie within days, days within months", other, f), Hint: "keep the finer one only"}
			}
			timed[f.Source] = f
		}
		name := avroName(f.Name())
		if other := s.Lookup(name); names[name] || other != nil && other.ID != col.ID {
			name = avroName(fmt.Sprintf("%s_%s_%d", f.Source, f.Transform, i))
		}
		names[name] = true
		out = append(out, iceberg.PartitionField{SourceIDs: []int{col.ID}, FieldID: iceberg.PartitionDataIDStart + i, Name: name, Transform: t})
	}
	return iceberg.NewPartitionSpecID(0, out...), nil
}

// avroName makes a name that Avro allows, as the Java implementation does.
func avroName(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9':
			b.WriteRune(r)
		case r >= '0' && r <= '9':
			b.WriteString("_" + string(r))
		default:
			fmt.Fprintf(&b, "_x%X", r)
		}
	}
	return b.String()
}

func isTime(t tarn.Transform) bool {
	return t == tarn.Year || t == tarn.Month || t == tarn.Day || t == tarn.Hour
}

// Transform computes the partition value of a source value, given as ColumnStats documents it. The
// result is int64 for year, month, day and hour (counted from 1970) and for bucket, and a value of
// the source's own Go type for identity and truncate. Nil stays nil.
func Transform(f tarn.PartitionField, source tarn.Type, value any) (any, error) {
	if value == nil {
		return nil, nil
	}
	t, err := icebergTransform(f)
	if err != nil {
		return nil, err
	}
	l, err := literal(source, value)
	if err != nil {
		return nil, err
	}
	res := t.Apply(iceberg.Optional[iceberg.Literal]{Valid: true, Val: l})
	if !res.Valid {
		return nil, fmt.Errorf("a %s cannot be partitioned by %s", source, f.Transform)
	}
	return partitionGo(f, source, res.Val.Any()), nil
}

// resultType is the type of a partition value: the source's for identity and truncate, else Int.
func resultType(f tarn.PartitionField, source tarn.Type) tarn.Type {
	if f.Transform == tarn.Identity || f.Transform == tarn.Truncate {
		return source
	}
	return tarn.Type{Kind: tarn.Int}
}

// partitionGo converts a partition value as iceberg-go hands it out.
func partitionGo(f tarn.PartitionField, source tarn.Type, v any) any {
	if d, ok := v.(iceberg.Date); ok && f.Transform == tarn.Day {
		return int64(d)
	}
	return goValue(resultType(f, source), v)
}

// partitionIceberg is the inverse of partitionGo.
func partitionIceberg(f tarn.PartitionField, source tarn.Type, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	l, err := literal(resultType(f, source), v)
	if err != nil {
		return nil, fmt.Errorf("partition %s: %w", f, err)
	}
	if i, ok := l.Any().(int32); ok && f.Transform == tarn.Day {
		return iceberg.Date(i), nil
	}
	return l.Any(), nil
}

// ParsePartitionValue reads a partition value, already transformed, from its DuckDB text. Empty
// text and Hive's null directory are null unless the value is a string.
func ParsePartitionValue(f tarn.PartitionField, source tarn.Type, s string) (any, error) {
	t := resultType(f, source)
	if s == hiveNull || s == "" && t.Kind != tarn.String {
		return nil, nil
	}
	v, ok := ParseBound(t, s)
	if !ok {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%q is no value of partition %s", s, f)}
	}
	return v, nil
}

// PartitionPath returns the Hive-style path of partition values, for example
// year=2026/month=11/date=20/hour=03 for hour(ts), or "" for no partitioning. Values are escaped so
// that each stays one path element.
func PartitionPath(spec []tarn.PartitionField, values []any) string {
	var parts []string
	for i, f := range spec {
		var v any
		if i < len(values) {
			v = values[i]
		}
		if n, ok := integer(v); isTime(f.Transform) && (ok || v == nil) {
			parts = append(parts, timePath(f.Transform, n, v == nil)...)
			continue
		}
		name := f.Source
		switch f.Transform {
		case tarn.Bucket:
			name += "_bucket"
		case tarn.Truncate:
			name += "_trunc"
		}
		parts = append(parts, escape(name)+"="+valuePath(v))
	}
	return strings.Join(parts, "/")
}

// timePath writes a count of years, months, days or hours since 1970 as calendar directories.
func timePath(t tarn.Transform, n int64, null bool) []string {
	var at time.Time
	depth := 1
	switch t {
	case tarn.Year:
		at = time.Date(1970+int(n), 1, 1, 0, 0, 0, 0, time.UTC)
	case tarn.Month:
		at, depth = time.Date(1970, time.Month(1+n), 1, 0, 0, 0, 0, time.UTC), 2
	case tarn.Day:
		at, depth = time.Unix(n*86400, 0).UTC(), 3
	case tarn.Hour:
		at, depth = time.Unix(n*3600, 0).UTC(), 4
	}
	parts := []string{fmt.Sprintf("year=%04d", at.Year()), fmt.Sprintf("month=%02d", at.Month()), fmt.Sprintf("date=%02d", at.Day()), fmt.Sprintf("hour=%02d", at.Hour())}[:depth]
	if null {
		for i, p := range parts {
			parts[i] = p[:strings.IndexByte(p, '=')+1] + hiveNull
		}
	}
	return parts
}

func valuePath(v any) string {
	switch v := v.(type) {
	case nil:
		return hiveNull
	case string:
		return escape(v)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		if v.Equal(v.Truncate(day)) {
			return v.Format("2006-01-02")
		}
		return escape(v.Format("2006-01-02 15:04:05.999999"))
	case []byte:
		return fmt.Sprintf("%x", v)
	}
	return escape(fmt.Sprint(v))
}

// escape is URL path escaping, of "=" too. Long values are cut: the path only has
// to be readable, the metadata holds the value.
func escape(s string) string {
	out := strings.ReplaceAll(url.PathEscape(s), "=", "%3D")
	if len(out) > 100 {
		cut := 100
		for i := 1; i <= 2; i++ { // not inside %XX
			if out[cut-i] == '%' {
				cut -= i
				break
			}
		}
		out = out[:cut] + fmt.Sprintf("~%08x", crc32.ChecksumIEEE([]byte(s)))
	}
	if out == "" {
		return hiveNull
	}
	return out
}

// comparePartitions orders partition values, null first.
func comparePartitions(a, b []any) int {
	for i := range min(len(a), len(b)) {
		if c := compareValues(a[i], b[i]); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

func compareValues(a, b any) int {
	switch x := a.(type) {
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y)
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	case nil:
		if b != nil {
			return -1
		}
		return 0
	}
	if b == nil {
		return 1
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}
