package project

import (
	"maps"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// Runtime says what executes a function.
type Runtime string

// The runtimes.
const (
	RuntimeProvided Runtime = "provided" // the executable named bootstrap in the function's folder
	RuntimePython   Runtime = "python"
	RuntimeNode     Runtime = "node"
)

// Sandbox says how much isolation a function asks of the host.
type Sandbox string

// The sandboxes.
const (
	SandboxAuto     Sandbox = "auto"     // as much as the host offers
	SandboxRequired Sandbox = "required" // it does not start on a host that cannot isolate
	SandboxOff      Sandbox = "off"
)

// Function is code of the user, in a folder of its own with function.yaml in it.
type Function struct {
	Name        string
	Dir         string // relative to the project: functions/NAME
	Runtime     Runtime
	Handler     string        // MODULE.FUNCTION, where MODULE may be a path with slashes; empty for provided
	Timeout     time.Duration // of one invocation
	MemoryBytes int64         // of one worker
	Concurrency int           // workers at most; 0 is one for each core
	Environment map[string]string
	Secrets     []string // environment variables that it gets from the server's; see Environ
	Batch       FunctionBatch
	Retries     int // after the first attempt failed
	Network     bool
	Sandbox     Sandbox
	Digest      string // of the settings and every file in Dir: another digest is another version
}

// Environ returns the environment that a function is given: what it declares, and its secrets as
// lookup, for example os.LookupEnv, has them. It fails with CodeInvalid when a secret is not set.
// The result holds secrets and must not be stored or logged (I7).
func (f *Function) Environ(lookup func(string) (string, bool)) (map[string]string, error) {
	env := maps.Clone(f.Environment)
	if env == nil {
		env = map[string]string{}
	}
	for _, name := range f.Secrets {
		value, ok := lookup(name)
		if !ok {
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the environment variable " + name + " is not set",
				Hint: "the function " + f.Name + " has it among its secrets; set it and start again, or remove it there"}
		}
		env[name] = value
	}
	return env, nil
}

// FunctionBatch bounds the records of one invocation; whichever comes first.
type FunctionBatch struct {
	Records int
	Bytes   int64 // of the records, before base64
	Wait    time.Duration
}

// Source is the door of a pipeline: exactly one is set.
type Source struct {
	HTTP     bool // producers post records
	Files    *FileSource
	Function *FunctionSource
}

// FileFormat says how a file is read.
type FileFormat string

// The formats of files.
const (
	FormatAuto    FileFormat = "auto" // from the name and the first bytes
	FormatCSV     FileFormat = "csv"
	FormatJSON    FileFormat = "json"
	FormatNDJSON  FileFormat = "ndjson"
	FormatParquet FileFormat = "parquet"
	FormatAvro    FileFormat = "avro"
	FormatText    FileFormat = "text" // a line is a record
)

// FileSource is the file-drop door: it takes every finished file of a folder once.
type FileSource struct {
	Path   string // a folder of the lake, such as landing/users, or an absolute one
	Match  string // a glob over the file's name; see path.Match
	Format FileFormat
	Settle time.Duration // a file that has not changed for this long is finished
	CSV    CSVOptions
}

// CSVOptions says how CSV is read. What is empty is found out from the file.
type CSVOptions struct {
	Delimiter string // one character
	Header    string // "", "true" or "false"
	Encoding  string // "", "utf-8", "utf-16" or "latin-1"
}

// CatchUp says what becomes of the runs that were due while Tarn was down.
type CatchUp string

// The ways to catch up.
const (
	CatchUpOne  CatchUp = "one" // the last of them
	CatchUpAll  CatchUp = "all" // all, in order
	CatchUpNone CatchUp = "none"
)

// Schedule is a set of minutes in UTC, with Next for the following one; see v1.Schedule.
type Schedule = v1.Schedule

// FunctionSource is a function whose records are appended to the stream. Exactly one of Schedule,
// Every and Continuous is set.
type FunctionSource struct {
	Function   string
	Schedule   Schedule
	Every      time.Duration
	Continuous bool // again as soon as the last run has ended
	CatchUp    CatchUp
}

// Transform is one step over the relation records. Exactly one of Function, SQL, Filter, Mask,
// Rename and Validate is set; Kind says which.
type Transform struct {
	Function string // the name of a function
	SQL      string // one statement, without a semicolon at its end
	File     string // where SQL stands, relative to the project; empty when it is in the pipeline's file
	Filter   string // an SQL condition; records for which it is true stay
	Mask     []Mask
	Rename   []Rename
	Validate []Rule
}

// StepKind names what a Transform is, in the words of the pipeline's file.
type StepKind string

// The kinds of steps.
const (
	StepFunction StepKind = "function"
	StepSQL      StepKind = "sql"
	StepFilter   StepKind = "filter"
	StepMask     StepKind = "mask"
	StepRename   StepKind = "rename"
	StepValidate StepKind = "validate"
)

// Kind says which step it is.
func (t Transform) Kind() StepKind {
	switch {
	case t.Function != "":
		return StepFunction
	case t.Filter != "":
		return StepFilter
	case len(t.Mask) > 0:
		return StepMask
	case len(t.Rename) > 0:
		return StepRename
	case len(t.Validate) > 0:
		return StepValidate
	}
	return StepSQL
}

// MaskMethod says what is put in a value's place. NULL stays NULL with each.
type MaskMethod string

// The methods.
const (
	MaskHash     MaskMethod = "hash"     // the SHA-256 of its text, in hexadecimal
	MaskRedact   MaskMethod = "redact"   // *** for text, NULL for anything else
	MaskTruncate MaskMethod = "truncate" // the first Length characters of a text
)

// Mask hides the values of one column.
type Mask struct {
	Column string
	Method MaskMethod
	Length int // of truncate, in characters; else 0
}

// Rename gives a column another name.
type Rename struct{ From, To string }

// OnFail says what becomes of a record that breaks a rule.
type OnFail string

// The ways to answer a broken rule.
const (
	FailRecord OnFail = "fail_record"  // it becomes a failed record of the stage validate
	Drop       OnFail = "drop"         // it is left out, and counted
	KeepAndTag OnFail = "keep_and_tag" // it stays, and TagColumn names the rule
)

// TagColumn is the column, VARCHAR[], in which keep_and_tag lists the broken rules of a record.
// It is NULL for a record that keeps them all.
const TagColumn = "failed_rules"

// Rule is one check of a validate step. A record breaks it when Condition is false; NULL keeps it,
// as in a CHECK of SQL.
type Rule struct {
	Name      string
	Condition string
	OnFail    OnFail
}

// WhenColumns are the columns of the one row that Delivery.When is asked over, for each file.
func WhenColumns() tarn.Schema {
	return tarn.Schema{Fields: []tarn.Field{
		{Name: "file_name", Type: tarn.Type{Kind: tarn.String}},
		{Name: "file_size", Type: tarn.Type{Kind: tarn.Long}}, // bytes, as it was dropped
		{Name: "format", Type: tarn.Type{Kind: tarn.String}},  // a FileFormat, never auto
		{Name: "columns", Type: tarn.Type{Kind: tarn.List, Elem: &tarn.Field{Name: "element", Type: tarn.Type{Kind: tarn.String}}}},
		{Name: "sample", Type: tarn.Type{Kind: tarn.JSON}}, // an array of the first records, at most 20
	}}
}

// Functions returns the names of the functions that a pipeline invokes, each once: that of its
// source, then those of its steps in order.
func (p *Pipeline) Functions() []string {
	var names []string
	if p.Source.Function != nil {
		names = append(names, p.Source.Function.Function)
	}
	for _, t := range p.Transforms {
		if t.Function != "" && !slices.Contains(names, t.Function) {
			names = append(names, t.Function)
		}
	}
	return names
}
