package twin

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// Kind is the type of a value. The numbers are stored.
type Kind uint8

// The kinds of values. The zero Kind is a metric that was removed.
const (
	Removed Kind = iota
	Number
	String
	Boolean
	JSON
)

var kindNames = [...]string{"removed", "number", "string", "boolean", "json"}

// String returns the name of a kind as project files write it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// ParseKind is the inverse of String for the kinds of values.
func ParseKind(name string) (Kind, bool) {
	for k := Number; k <= JSON; k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return Removed, false
}

// Value is a number, a string, a boolean or JSON. The zero Value removes a metric. Values are
// comparable.
type Value struct {
	kind   Kind
	number float64 // Number; 1 for true
	text   string  // String; or JSON without blanks
}

// NumberValue returns a number. One that JSON cannot write is refused by Apply.
func NumberValue(f float64) Value { return Value{kind: Number, number: f} }

// StringValue returns a string.
func StringValue(s string) Value { return Value{kind: String, text: s} }

// BooleanValue returns a boolean.
func BooleanValue(b bool) Value {
	v := Value{kind: Boolean}
	if b {
		v.number = 1
	}
	return v
}

// JSONValue returns a JSON document without its blanks. Text that is not JSON is refused by Apply.
func JSONValue(text []byte) Value {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return Value{kind: JSON, text: string(text)}
	}
	return Value{kind: JSON, text: b.String()}
}

// ParseValue returns the value that a JSON text is: numbers, strings and booleans as such, objects and
// arrays as JSON. null is CodeInvalid, as is text that is not JSON.
func ParseValue(text []byte) (Value, error) {
	text = bytes.TrimSpace(text)
	if !json.Valid(text) {
		return Value{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the value is not JSON", Hint: `write a number, "a string", true, an object or an array`}
	}
	switch text[0] {
	case 't', 'f':
		return BooleanValue(text[0] == 't'), nil
	case '"':
		var s string
		err := json.Unmarshal(text, &s)
		return StringValue(s), err
	case '{', '[':
		return JSONValue(text), nil
	case 'n':
		return Value{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the value is null", Hint: "leave the update out, or remove the metric"}
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return Value{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the value " + clip(string(text)) + " is over the range of a number", Hint: "send it as a string"}
	}
	return NumberValue(f), nil
}

// Kind returns what the value is.
func (v Value) Kind() Kind { return v.kind }

// Number returns a Number, and 0 for any other kind.
func (v Value) Number() float64 {
	if v.kind != Number {
		return 0
	}
	return v.number
}

// Text returns the text of a String or of JSON, and "" for any other kind.
func (v Value) Text() string { return v.text }

// Boolean returns a Boolean, and false for any other kind.
func (v Value) Boolean() bool { return v.kind == Boolean && v.number != 0 }

// AppendJSON appends the value as JSON; null for one that was removed.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.kind {
	case Number:
		return appendNumber(b, v.number)
	case String:
		return appendString(b, v.text)
	case Boolean:
		return strconv.AppendBool(b, v.number != 0)
	case JSON:
		return append(b, v.text...)
	}
	return append(b, "null"...)
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }

// appendNumber writes a number as JavaScript does.
func appendNumber(b []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// appendString writes a JSON string; most need no escapes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			q, _ := json.Marshal(s) // strings always marshal
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
