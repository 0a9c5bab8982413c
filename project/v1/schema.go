package v1

import "strings"

// The methods below describe the text forms of this package's types in JSON Schema, for editors.
// They may be wider than UnmarshalText, never narrower.

// JSONSchema returns the schema of a duration.
func (Duration) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$`}
}

// JSONSchema returns the schema of a size.
func (ByteSize) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "integer", "minimum": 0},
		map[string]any{"type": "string", "pattern": `^[0-9]+(\.[0-9]+)? ?([KMGT]i?)?B$`},
	}}
}

// JSONSchema returns the schema of a name.
func (Name) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^" + namePattern + "$"}
}

// JSONSchema returns the schema of a table name.
func (TableName) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^" + Zone + `\.` + namePattern + "$"}
}

// JSONSchema returns the schema of a partition transform.
func (PartitionField) JSONSchema() map[string]any {
	word := func(s string) string { // in either case
		var b strings.Builder
		for _, c := range s {
			b.WriteString("[" + strings.ToUpper(string(c)) + string(c) + "]")
		}
		return b.String()
	}
	time := strings.Join([]string{word("identity"), word("year"), word("month"), word("day"), word("hour")}, "|")
	return map[string]any{"type": "string", "pattern": `^\s*((` + time + `)\s*\(.+\)|(` + word("bucket") + "|" + word("truncate") +
		`)\s*\(\s*[0-9]+\s*,.+\)|[^()]+|".+")\s*$`}
}

// JSONSchema returns the schema of an address.
func (Address) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": `^.*:[0-9]{1,5}$`}
}

// JSONSchema returns the schema of a schedule.
func (Schedule) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": `^\s*\S+(\s+\S+){4}\s*$`}
}

// JSONSchema returns the schema of a way to mask.
func (MaskMethod) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "string", "pattern": `^(hash|redact|truncate\([0-9]+\))$`},
		map[string]any{"type": "object", "additionalProperties": false, "required": []string{"truncate"}, "properties": map[string]any{
			"truncate": map[string]any{"type": "integer", "minimum": 1, "maximum": MaxTruncate, "markdownDescription": "How many characters stay."},
		}},
	}}
}

// JSONSchema returns the schema of the value of an environment variable.
func (PlainText) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"string", "number"}}
}

// JSONSchema returns the schema of the name of an environment variable.
func (VariableName) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": variableRegexp.String()}
}
