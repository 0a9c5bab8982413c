package project

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project/internal/strictyaml"
)

// testsDir is the folder of recorded cases: tests/PIPELINE/CASE/.
const testsDir = "tests"

// Case is a recorded input of a pipeline or extract and what is expected of it, a folder of the project.
type Case struct {
	Pipeline string // or the extract, where no pipeline has the name
	Name     string
	Dir      string   // absolute
	Ignore   []string // columns that are not compared
	OrderBy  []string // columns by which rows must be in the order of the file; none compares sets
}

// caseModel is the file case.yaml of a case, which is optional.
type caseModel struct {
	Ignore  []string `json:"ignore,omitempty" doc:"Columns that are not compared, such as the time a row was made."`
	OrderBy []string `json:"order_by,omitempty" doc:"Columns that rows are sorted by before they are compared one by one. Default: rows are compared as sets."`
}

// Case returns the case in the folder tests/PIPELINE/NAME, whether or not it is there yet.
func (p *Project) Case(pipeline, name string) Case {
	return Case{Pipeline: pipeline, Name: name, Dir: filepath.Join(p.Dir, testsDir, pipeline, name)}
}

// Cases finds the recorded cases of the project, in order of pipeline and name. The faults are those of
// their files.
func (p *Project) Cases() ([]Case, Faults) {
	var cases []Case
	var faults Faults
	for _, pipeline := range folders(filepath.Join(p.Dir, testsDir)) {
		where := path.Join(testsDir, pipeline)
		if p.Pipeline(pipeline) == nil && p.Extract(pipeline) == nil {
			faults = append(faults, Fault{File: where, Line: 1, Col: 1, Code: tarn.CodeNotFound, Detail: "there is no pipeline or extract " + pipeline, Hint: "cases lie in tests/PIPELINE/CASE and tests/EXTRACT/CASE"})
			continue
		}
		for _, name := range folders(filepath.Join(p.Dir, testsDir, pipeline)) {
			c := p.Case(pipeline, name)
			faults = append(faults, c.read(path.Join(where, name, "case.yaml"))...)
			cases = append(cases, c)
		}
	}
	return cases, faults
}

// folders returns the folders in a folder, in order of name.
func folders(dir string) []string {
	entries, _ := os.ReadDir(dir) // without the folder there is nothing
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// read reads case.yaml; file is its name in the project.
func (c *Case) read(file string) Faults {
	src, err := os.ReadFile(filepath.Join(c.Dir, "case.yaml"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return Faults{{File: file, Line: 1, Col: 1, Code: tarn.CodeInvalid, Detail: "the file cannot be read"}}
	case strings.TrimSpace(string(src)) == "":
		return nil
	}
	var m caseModel
	doc, faults := strictyaml.Parse(src)
	if doc != nil {
		faults = doc.Decode(&m)
	}
	c.Ignore, c.OrderBy = m.Ignore, m.OrderBy
	var out Faults
	for _, f := range faults {
		out = append(out, Fault{File: file, Line: f.Line, Col: f.Col, Path: f.Path, Code: f.Code, Detail: f.Detail, Hint: f.Hint})
	}
	return out
}
