package v1

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// Zone is the zone, and SQL schema, of the tables that deliveries write.
const Zone = "curated"

const namePattern = `[a-z][a-z0-9_]{0,62}`

var nameRegexp = regexp.MustCompile(`^` + namePattern + `$`)

// Name names a project, pipeline, stream or function: a-z first, then a-z, 0-9 and _, at most
// 63 in all, so that it needs no quoting in SQL, in a URL or in a path.
type Name string

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Name) UnmarshalText(b []byte) error {
	if s := string(b); !nameRegexp.MatchString(s) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not a name", Hint: nameHint(s, "")}
	}
	*n = Name(b)
	return nil
}

// nameHint offers the nearest permitted name.
func nameHint(s, prefix string) string {
	lost := false
	mended := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '-', r == ' ', r == '.', r == '/':
			return '_'
		}
		lost = true
		return -1
	}, s)
	rule := "a name begins with a-z and goes on with a-z, 0-9 and _, at most 63 in all"
	if !lost && nameRegexp.MatchString(mended) {
		return "write " + prefix + mended + "; " + rule
	}
	return rule
}

// TableName names a table with its zone: curated.telemetry.
type TableName string

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *TableName) UnmarshalText(b []byte) error {
	s := string(b)
	zone, name, ok := strings.Cut(s, ".")
	switch {
	case !ok && nameRegexp.MatchString(s):
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " names no zone", Hint: "write " + Zone + "." + s}
	case !ok:
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not the name of a table", Hint: nameHint(s, Zone+".")}
	case zone == "raw":
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the zone raw has no tables", Hint: "write raw_backup: true to keep the accepted bytes there"}
	case zone == "cleaned":
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the zone cleaned has no tables", Hint: "write cleaned: " + name + " in place of table"}
	case zone != Zone:
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(zone) + " is not a zone that pipelines deliver to", Hint: "write " + Zone + ".NAME"}
	case !nameRegexp.MatchString(name):
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not the name of a table", Hint: nameHint(name, Zone+".")}
	}
	*t = TableName(s)
	return nil
}

// ColumnName is the name of a column: any printable text, at most 255 bytes. Names that begin with
// two underscores are Tarn's own.
type ColumnName string

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *ColumnName) UnmarshalText(b []byte) error {
	s := string(b)
	switch {
	case s == "" || len(s) > 255 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not the name of a column", Hint: "use 1 to 255 bytes of printable text"}
	case strings.HasPrefix(s, "__"):
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " begins with __, as Tarn's own columns do", Hint: "choose another name"}
	}
	*c = ColumnName(s)
	return nil
}

// KeyPath leads to a value in a JSON record: device_id, or device.id for a nested one.
type KeyPath string

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *KeyPath) UnmarshalText(b []byte) error {
	s := string(b)
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(s) > 1024 || strings.ContainsFunc(part, unicode.IsControl) {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " does not lead to a key of the record", Hint: "write a key, or keys with dots between them, such as device.id"}
		}
	}
	*k = KeyPath(s)
	return nil
}

// SQLType is a column type in canonical SQL.
type SQLType string

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *SQLType) UnmarshalText(b []byte) error {
	parsed, err := tarn.ParseType(string(b))
	if err == nil {
		*t = SQLType(parsed.SQL())
	}
	return err
}

// Type returns the type that the text names, the zero Type for none.
func (t SQLType) Type() tarn.Type {
	parsed, _ := tarn.ParseType(string(t)) // checked by UnmarshalText
	return parsed
}

// PartitionField is a partition transform in canonical form.
type PartitionField string

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PartitionField) UnmarshalText(b []byte) error {
	parsed, err := tarn.ParsePartitionField(string(b))
	if err == nil {
		*p = PartitionField(parsed.String())
	}
	return err
}

// Field returns the field that the text names.
func (p PartitionField) Field() tarn.PartitionField {
	parsed, _ := tarn.ParsePartitionField(string(p)) // checked by UnmarshalText
	return parsed
}

// SQL is the path of an SQL file in the project, or a statement.
type SQL string

// UnmarshalText implements encoding.TextUnmarshaler.
func (q *SQL) UnmarshalText(b []byte) error {
	s := SQL(strings.TrimRight(string(b), " \t\r\n"))
	if !s.Inline() && !strings.HasSuffix(string(s), ".sql") {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(string(s)) + " is neither the path of a .sql file nor a SELECT",
			Hint: "write sql/NAME.sql, or SELECT … FROM records"}
	}
	*q = s
	return nil
}

// Inline reports whether q is a statement rather than a path.
func (q SQL) Inline() bool {
	s := strings.ToLower(strings.TrimSpace(string(q)))
	for _, begin := range []string{"(", "--", "/*"} {
		if strings.HasPrefix(s, begin) {
			return true
		}
	}
	first, _, more := strings.Cut(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '(' || r == '*' {
			return ' '
		}
		return r
	}, s), " ")
	switch first {
	case "select", "with", "from", "values":
		return more
	}
	return false
}

// Address is a host and port to listen on.
type Address string

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Address) UnmarshalText(b []byte) error {
	s := string(b)
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || strconv.FormatUint(n, 10) != port || strings.ContainsAny(host, " /@") {
		hint := "write HOST:PORT, such as 127.0.0.1:8080"
		if p, err := strconv.ParseUint(s, 10, 16); err == nil {
			hint = fmt.Sprintf("write 127.0.0.1:%d", p)
		}
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "this is not an address to listen on", Hint: hint}
	}
	*a = Address(s)
	return nil
}
