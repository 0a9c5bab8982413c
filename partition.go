package tarn

import (
	"fmt"
	"strconv"
	"strings"
)

// Transform is an Iceberg partition transform.
type Transform string

// The transforms Tarn writes.
const (
	Identity Transform = "identity"
	Year     Transform = "year"
	Month    Transform = "month"
	Day      Transform = "day"
	Hour     Transform = "hour"
	Bucket   Transform = "bucket"   // Param: number of buckets
	Truncate Transform = "truncate" // Param: width
)

// PartitionField is one field of a partition spec: a transform of one source column.
type PartitionField struct {
	Source    string
	Transform Transform
	Param     int // Bucket and Truncate only
}

// Name returns the name of the partition field in the Iceberg spec, for example ts_hour.
func (f PartitionField) Name() string {
	switch f.Transform {
	case Identity:
		return f.Source
	case Truncate:
		return f.Source + "_trunc"
	}
	return f.Source + "_" + string(f.Transform)
}

// String returns the form ParsePartitionField reads: hour(ts), bucket(16, id), or a bare column.
func (f PartitionField) String() string {
	switch f.Transform {
	case Identity:
		return f.Source
	case Bucket, Truncate:
		return fmt.Sprintf("%s(%d, %s)", f.Transform, f.Param, f.Source)
	}
	return fmt.Sprintf("%s(%s)", f.Transform, f.Source)
}

// ParsePartitionField reads column, identity(column), year|month|day|hour(column),
// bucket(n, column) or truncate(width, column).
func ParsePartitionField(s string) (PartitionField, error) {
	fail := func(what string) (PartitionField, error) {
		return PartitionField{}, &Error{Code: CodeInvalid, Detail: fmt.Sprintf("%q is not a partition transform: %s", s, what),
			Hint: "write a column, year|month|day|hour(column), bucket(16, column) or truncate(8, column)"}
	}
	name, rest, ok := strings.Cut(strings.TrimSpace(s), "(")
	name = strings.TrimSpace(name)
	if !ok {
		if name == "" || strings.ContainsAny(name, "),") {
			return fail("the column is missing")
		}
		return PartitionField{Source: name, Transform: Identity}, nil
	}
	args, tail, ok := strings.Cut(rest, ")")
	if !ok || strings.TrimSpace(tail) != "" {
		return fail("the parentheses do not match")
	}
	f := PartitionField{Transform: Transform(strings.ToLower(name)), Source: strings.TrimSpace(args)}
	switch f.Transform {
	case Identity, Year, Month, Day, Hour:
	case Bucket, Truncate:
		n, col, ok := strings.Cut(args, ",")
		param, err := strconv.Atoi(strings.TrimSpace(n))
		if !ok || err != nil || param < 1 {
			return fail("it takes a positive number and a column")
		}
		f.Param, f.Source = param, strings.TrimSpace(col)
	default:
		return fail("unknown transform " + name)
	}
	if f.Source == "" || strings.Contains(f.Source, ",") {
		return fail("it takes one column")
	}
	return f, nil
}
