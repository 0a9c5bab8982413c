package v1

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// Transform is one step: exactly one key.
type Transform struct {
	Function Name      `json:"function,omitempty" example:"enrich" doc:"The name of a function, which gets the records in batches. These steps come before all others."`
	SQL      SQL       `json:"sql,omitempty" example:"sql/telemetry.sql" doc:"The path of a '.sql' file in the project, or the statement itself: one 'SELECT … FROM records'."`
	Filter   Condition `json:"filter,omitempty" example:"speed >= 0" doc:"An SQL condition; the records for which it is true stay, the others are left out and counted."`
	Mask     []Mask    `json:"mask,omitempty" shorthand:"column,method" example:"{email: hash, phone: {truncate: 4}}" doc:"Hides values: a mapping of column to method, 'hash' (the SHA-256 of the text), 'redact' ('***' for text, NULL for anything else) or '{truncate: N}' (the first N characters of a text). NULL stays NULL."`
	Rename   []Rename  `json:"rename,omitempty" shorthand:"from,to" example:"{old: new}" doc:"Renames columns: a mapping of the old name to the new one."`
	Validate []Rule    `json:"validate,omitempty" example:"[{name: speed, check: speed >= 0}]" doc:"Rules that every record must keep."`
}

// Mask hides the values of one column.
type Mask struct {
	Column ColumnName `json:"column" required:"true" example:"email" doc:"The column."`
	Method MaskMethod `json:"method" required:"true" example:"hash" doc:"'hash', 'redact' or '{truncate: N}'."`
}

// Rename gives a column another name.
type Rename struct {
	From ColumnName `json:"from" required:"true" example:"old" doc:"The name it has."`
	To   ColumnName `json:"to" required:"true" example:"new" doc:"The name it gets."`
}

// Rule is one check.
type Rule struct {
	Name   Name      `json:"name" required:"true" example:"speed" doc:"The name of the rule, which the reason of a failed record holds."`
	Check  Condition `json:"check" required:"true" example:"speed between 0 and 400" doc:"An SQL condition. A record breaks the rule when it is false; NULL keeps it, as in a CHECK of SQL."`
	OnFail string    `json:"on_fail" default:"fail_record" enum:"fail_record,drop,keep_and_tag" example:"fail_record" doc:"What becomes of a record that breaks it. 'fail_record': it becomes a failed record. 'drop': it is left out, and counted. 'keep_and_tag': it stays, and the column 'failed_rules' names the rule."`
}

// MaxTruncate bounds the characters that truncate leaves.
const MaxTruncate = 1 << 20

// MaskMethod says how values are hidden: hash, redact, or the characters that truncate leaves. Its
// text form is hash, redact or truncate(N); a file may hold {truncate: N} as well.
type MaskMethod struct {
	Truncate int `json:"truncate" required:"true" min:"1" max:"1048576" example:"4" doc:"How many characters stay."`
	word     string
}

// Method returns hash, redact or truncate, and "" for the zero MaskMethod.
func (m MaskMethod) Method() string {
	if m.Truncate > 0 {
		return "truncate"
	}
	return m.word
}

// NewMaskMethod returns the method of that name; length is for truncate.
func NewMaskMethod(method string, length int) MaskMethod {
	if method == "truncate" {
		return MaskMethod{Truncate: length}
	}
	return MaskMethod{word: method}
}

// MarshalText implements encoding.TextMarshaler.
func (m MaskMethod) MarshalText() ([]byte, error) {
	if m.Truncate > 0 {
		return fmt.Appendf(nil, "truncate(%d)", m.Truncate), nil
	}
	return []byte(m.word), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MaskMethod) UnmarshalText(b []byte) error {
	s := string(b)
	if s == "hash" || s == "redact" {
		*m = MaskMethod{word: s}
		return nil
	}
	const hint = "write hash, redact or {truncate: 4}"
	digits, ok := strings.CutPrefix(s, "truncate(")
	if digits, closed := strings.CutSuffix(digits, ")"); ok && closed {
		if n, err := strconv.Atoi(digits); err == nil && n >= 1 && n <= MaxTruncate {
			*m = MaskMethod{Truncate: n}
			return nil
		}
	}
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not a way to mask", Hint: hint}
}
