package strictyaml

import "github.com/tarn-data/tarn"

// Fault is one thing that is wrong in a document. Line and Col count from 1, Col in characters.
// Path is the YAML path of the value, for example deliver[0].buffer.size, and empty where the
// fault is the file's as a whole.
type Fault struct {
	Line, Col int
	Path      string
	Code      tarn.Code
	Detail    string
	Hint      string
}

// The codes of this package beside those of the root package.
const (
	CodeSyntax       tarn.Code = "syntax"        // not YAML
	CodeEncoding     tarn.Code = "encoding"      // not UTF-8, or a control character
	CodeUnknownKey   tarn.Code = "unknown_key"   // a key the model does not have
	CodeDuplicateKey tarn.Code = "duplicate_key" // a key that stands twice in one mapping
	CodeWrongType    tarn.Code = "wrong_type"    // a list where a number is wanted, and the like
	CodeMissing      tarn.Code = "missing"       // a required key or value is absent
)
