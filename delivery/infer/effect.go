package infer

import (
	"fmt"
	"strings"

	"github.com/tarn-data/tarn"
)

// Policy is what happens to a record that brings something the columns do not hold yet.
type Policy uint8

// The policies of on_schema_change.
const (
	Evolve Policy = iota // add columns, widen BIGINT to DOUBLE
	Fail                 // such a record is a misfit
	Ignore               // new fields are left out and noted; other changes are misfits
)

// ParsePolicy reads evolve, fail or ignore.
func ParsePolicy(s string) (Policy, error) {
	for p, name := range policyNames {
		if s == name {
			return Policy(p), nil
		}
	}
	return 0, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%q is not a policy for schema changes", s), Hint: "write evolve, fail or ignore"}
}

var policyNames = [...]string{"evolve", "fail", "ignore"}

// String returns the name ParsePolicy reads.
func (p Policy) String() string { return policyNames[p] }

// Verdict is what is known about the records of one shape.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // Observe a record of the shape
	Fits                   // DuckDB reads the record as it is
	Rewrite                // pass the record through State.Rewrite first
)

// Path names a member: keys from the top, with "element" for list elements and "value" for map
// values, as Iceberg has it.
type Path []string

// String writes the path with dots; parts that are no plain identifiers are quoted.
func (p Path) String() string {
	var b strings.Builder
	for i, k := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		if plain(k) {
			b.WriteString(k)
		} else {
			b.WriteString(tarn.QuoteIdent(clip(k)))
		}
	}
	return b.String()
}

func plain(k string) bool {
	for i := 0; i < len(k); i++ {
		c := k[i]
		if c != '_' && (c < '0' || c > '9' || i == 0) && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return k != "" && len(k) <= clipBytes
}

// Addition is a new field of the struct at Parent; an empty Parent means a new column.
type Addition struct {
	Parent Path
	Field  tarn.Field
}

// Widening is a change of type that holds every value the old type held.
type Widening struct {
	Path     Path
	From, To tarn.Type
}

// Effect is what one record means for the schema. A misfit changes nothing: with Misfit set, Added
// holds at most what Observe had to decide before it could judge the record.
type Effect struct {
	Added   []Addition // columns and fields the table needs before the record is read
	Widened []Widening
	Misfit  *Misfit
	// Rewrite: the record has to pass State.Rewrite before DuckDB reads it.
	Rewrite bool
	// Learnable: every record of this shape means the same, so the verdict may be learned. It is
	// false for misfits and where the verdict hangs on a value that shapes do not tell.
	Learnable bool
	// Changed: the document differs from before and belongs into the next commit.
	Changed bool
}

// Verdict returns what to pass to Learn.
func (e Effect) Verdict() Verdict {
	switch {
	case !e.Learnable:
		return Unknown
	case e.Rewrite:
		return Rewrite
	}
	return Fits
}

// Misfit says why a record does not fit its table.
type Misfit struct {
	Path Path
	Want string // what the column takes, for example BIGINT
	Got  string // what the record has, for example string
	Text string // the offending JSON text, at most 80 bytes
	Why  string // what would go wrong, when Want and Got do not say it
}

// newField is what Want says of a member that the policy does not let in.
const newField = "no new field"

// Err returns the misfit as an error with CodeSchema.
func (m *Misfit) Err() *tarn.Error {
	got := m.Got
	if m.Text != "" && m.Text != m.Got {
		got += " " + m.Text
	}
	if m.Want == newField {
		return &tarn.Error{Code: tarn.CodeSchema, Detail: fmt.Sprintf("%s is a new field, with %s, and on_schema_change is fail", m.Path, got),
			Hint: "set on_schema_change to evolve or ignore, then replay the record"}
	}
	d := fmt.Sprintf("%s takes %s, the record has %s", m.Path, m.Want, got)
	if m.Why != "" {
		d += ": " + m.Why
	}
	return &tarn.Error{Code: tarn.CodeSchema, Detail: d,
		Hint: "mend the producer or declare the column with a type that takes both, then replay the record"}
}

const clipBytes = 80

// clip shortens s to 80 bytes on a character's boundary and marks the cut.
func clip[T ~string | ~[]byte](s T) string {
	if len(s) <= clipBytes {
		return string(s)
	}
	end := clipBytes - len("…")
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return string(s[:end]) + "…"
}
