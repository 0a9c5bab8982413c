package tarn

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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
	source := f.Source
	if source == "" || strings.ContainsFunc(source, breaksWord) {
		source = QuoteIdent(source)
	}
	switch f.Transform {
	case Identity:
		return source
	case Bucket, Truncate:
		return fmt.Sprintf("%s(%d, %s)", f.Transform, f.Param, source)
	}
	return fmt.Sprintf("%s(%s)", f.Transform, source)
}

// breaksWord reports whether a column whose name holds r is written in quotes.
func breaksWord(r rune) bool {
	return r == '(' || r == ')' || r == ',' || r == '"' || unicode.IsSpace(r) || unicode.IsControl(r)
}

// ParsePartitionField reads column, identity(column), year|month|day|hour(column),
// bucket(n, column) or truncate(width, column). A column may stand in double quotes, with a
// double quote in it written twice, and must when it holds blanks, commas or parentheses.
func ParsePartitionField(s string) (PartitionField, error) {
	fail := func(what string) (PartitionField, error) {
		return PartitionField{}, &Error{Code: CodeInvalid, Detail: fmt.Sprintf("%q is not a partition transform: %s", s, what),
			Hint: "write a column, year|month|day|hour(column), bucket(16, column) or truncate(8, column)"}
	}
	if !utf8.ValidString(s) {
		return fail("it is not UTF-8")
	}
	word, rest, wrong := cutColumn(s)
	switch {
	case wrong != "":
		return fail(wrong)
	case rest == "":
		return PartitionField{Source: word, Transform: Identity}, nil
	case rest[0] != '(' || strings.HasPrefix(strings.TrimSpace(s), `"`):
		return fail("there is text after the column")
	}
	f := PartitionField{Transform: Transform(strings.ToLower(word))}
	args, ok := strings.CutSuffix(rest[1:], ")")
	if !ok {
		return fail("the parentheses do not match")
	}
	switch f.Transform {
	case Identity, Year, Month, Day, Hour:
	case Bucket, Truncate:
		n, column, ok := strings.Cut(args, ",")
		param, err := strconv.ParseUint(strings.TrimSpace(n), 10, 31)
		if !ok || err != nil || param < 1 {
			return fail("it takes a positive number and a column")
		}
		f.Param, args = int(param), column
	default:
		return fail("unknown transform " + word)
	}
	if strings.TrimSpace(args) == "" {
		return fail("it takes one column")
	}
	if f.Source, rest, wrong = cutColumn(args); wrong != "" {
		return fail(wrong)
	}
	switch {
	case rest == "":
		return f, nil
	case strings.HasPrefix(rest, ","):
		return fail("it takes one column")
	}
	return fail("the parentheses do not match")
}

// cutColumn takes a bare word or a quoted column off the front of s, and the blanks around it.
func cutColumn(s string) (column, rest, wrong string) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexFunc(s, breaksWord)
		if i < 0 {
			i = len(s)
		}
		if i == 0 {
			return "", "", "the column is missing"
		}
		return s[:i], strings.TrimSpace(s[i:]), ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '"':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '"':
			b.WriteByte('"')
			i++
		case b.Len() == 0:
			return "", "", "the column is missing"
		default:
			return b.String(), strings.TrimSpace(s[i+1:]), ""
		}
	}
	return "", "", "a quoted column does not end"
}
