package v1

import (
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// Condition is an SQL expression that is true, false or NULL.
type Condition string

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Condition) UnmarshalText(b []byte) error {
	s := strings.TrimRight(string(b), " \t\r\n")
	if strings.TrimSpace(s) == "" {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "there is no condition", Hint: "write an SQL expression, such as speed >= 0"}
	}
	*c = Condition(s)
	return nil
}

var (
	variableRegexp = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
	reserved       = regexp.MustCompile(`^(_HANDLER|_X_AMZN_TRACE_ID|AWS_LAMBDA_.*|LAMBDA_.*|TARN_.*)$`)
)

// VariableName names an environment variable of a function.
type VariableName string

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *VariableName) UnmarshalText(b []byte) error {
	s := string(b)
	switch {
	case envRef.FindString(s) == s && s != "":
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is a reference, not the name of a variable", Hint: "write " + s[2:len(s)-1]}
	case !variableRegexp.MatchString(s):
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not the name of an environment variable", Hint: "use A-Z, 0-9 and _, not a digit first"}
	case reserved.MatchString(s):
		return &tarn.Error{Code: tarn.CodeConflict, Detail: s + " is set by Tarn for every function", Hint: "choose another name"}
	}
	*v = VariableName(s)
	return nil
}

// PlainText is the value of an environment variable. A reference to a variable of the server is
// refused: what it holds may be a secret, which belongs under secrets (I7).
type PlainText string

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PlainText) UnmarshalText(b []byte) error {
	if ref := envRef.FindSubmatch(b); ref != nil {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the value refers to the environment variable " + string(ref[1]),
			Hint: "list " + string(ref[1]) + " under secrets; the function then has it under that name"}
	}
	if len(b) > 32<<10 {
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: "the value has more than 32 KiB", Hint: "keep it in a file beside the code"}
	}
	*p = PlainText(b)
	return nil
}

// Handler names a function in a module: app.handler, or src/app.handler.
type Handler string

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Handler) UnmarshalText(b []byte) error {
	s := string(b)
	module, function, ok := strings.Cut(path.Base(s), ".")
	if !ok || module == "" || function == "" || strings.HasSuffix(s, ".") || strings.Contains(s, "..") || s[0] == '/' || path.Clean(s) != s ||
		strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' }) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not a handler", Hint: "write MODULE.FUNCTION, such as app.handler"}
	}
	*h = Handler(s)
	return nil
}

// FolderPath is a folder: relative, its key says to what, or absolute. It is clean and has slashes.
type FolderPath string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *FolderPath) UnmarshalText(b []byte) error {
	s := string(b)
	fail := func(detail, hint string) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + detail, Hint: hint}
	}
	clean := path.Clean(s)
	switch {
	case strings.Contains(s, "://"):
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "a folder in an object store is not available yet", Hint: "write the path of a folder"}
	case strings.Contains(s, `\`):
		return fail(" has backslashes", "write slashes")
	case strings.TrimSpace(s) != s || s == "" || clean == "." || clean == "/" || strings.ContainsRune(s, 0):
		return fail(" is not the path of a folder", "write one such as landing/users")
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return fail(" leads out of the folder it is in", "write an absolute path")
	}
	*f = FolderPath(clean)
	return nil
}

// Glob is a pattern over the name of a file, as path.Match reads it.
type Glob string

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Glob) UnmarshalText(b []byte) error {
	s := string(b)
	if _, err := path.Match(s, "x"); err != nil || s == "" {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not a pattern", Hint: "write one such as *.csv"}
	}
	if strings.Contains(s, "/") {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " has a slash, but only names of files are matched", Hint: "put the folder into path"}
	}
	*g = Glob(s)
	return nil
}

// Character is one character.
type Character string

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Character) UnmarshalText(b []byte) error {
	if r, size := utf8.DecodeRune(b); size == 0 || size != len(b) || r == utf8.RuneError || r == '"' || r == '\n' || r == '\r' {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(string(b)) + " is not one character between fields", Hint: `write one such as ";" or "\t"`}
	}
	*c = Character(b)
	return nil
}

// TargetTable names a table in a database outside of Tarn: users, or app.users.
type TargetTable string

var targetRegexp = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *TargetTable) UnmarshalText(b []byte) error {
	if !targetRegexp.Match(b) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(string(b)) + " is not the name of a table", Hint: "write TABLE or SCHEMA.TABLE, of letters, digits and _"}
	}
	*t = TargetTable(b)
	return nil
}

// DeliveryName returns the table without its schema, in lower case, as the name of a delivery.
func (t TargetTable) DeliveryName() Name {
	_, table, ok := strings.Cut(string(t), ".")
	if !ok {
		table = string(t)
	}
	return Name(strings.ToLower(table))
}
