package project

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project/internal/strictyaml"
)

// The codes of faults. Beside them stand tarn.CodeInvalid (a value that is not permitted),
// CodeNotFound (a file that is not there), CodeConflict (two things with one name), CodeTooLarge,
// CodeForbidden (a path that leads out of the project) and CodeUnsupported (not available yet).
const (
	CodeSyntax       = strictyaml.CodeSyntax       // not YAML
	CodeEncoding     = strictyaml.CodeEncoding     // not UTF-8, or a control character
	CodeUnknownKey   = strictyaml.CodeUnknownKey   // a key that does not exist
	CodeDuplicateKey = strictyaml.CodeDuplicateKey // a key that stands twice
	CodeWrongType    = strictyaml.CodeWrongType    // a list where a number is wanted, and the like
	CodeMissing      = strictyaml.CodeMissing      // a required key, value or file content is absent

	CodeSQL tarn.Code = "sql" // SQL that does not parse
)

// Fault is one thing that is wrong in a project.
type Fault struct {
	File   string    `json:"file"`           // relative to the project, with slashes
	Line   int       `json:"line"`           // from 1
	Col    int       `json:"col"`            // from 1, in characters
	Path   string    `json:"path,omitempty"` // the YAML path: deliver[0].buffer.size
	Code   tarn.Code `json:"code"`
	Detail string    `json:"detail"`
	Hint   string    `json:"hint,omitempty"`
}

// String returns file:line:col: yaml.path: what is wrong; hint.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Col)
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Detail)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	return b.String()
}

// Faults is everything that is wrong in a project, sorted by file, line and column. It is an error;
// use Err to get a nil error from none.
type Faults []Fault

// Err returns f as an error, or nil when there are none.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Error implements error with the text of String.
func (f Faults) Error() string { return strings.TrimSuffix(f.String(), "\n") }

// In returns f with files named from the folder that dir, the project's, is relative to.
func (f Faults) In(dir string) Faults {
	out := slices.Clone(f)
	for i := range out {
		out[i].File = filepath.ToSlash(filepath.Join(dir, filepath.FromSlash(out[i].File)))
	}
	return out
}

// String returns one line for each fault.
func (f Faults) String() string {
	var b strings.Builder
	for _, one := range f {
		b.WriteString(one.String() + "\n")
	}
	return b.String()
}

// JSON returns {"faults": […]}, indented, for scripts; the list is empty and not null for none.
func (f Faults) JSON() []byte {
	if f == nil {
		f = Faults{}
	}
	b, err := json.MarshalIndent(map[string]any{"faults": []Fault(f)}, "", "  ")
	if err != nil {
		panic(err) // plain strings and numbers always marshal
	}
	return append(b, '\n')
}

func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Code, b.Code))
	})
}
