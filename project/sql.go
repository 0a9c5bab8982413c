package project

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project/internal/strictyaml"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// SQLError is what Options.CheckSQL may return to say where a statement is wrong. Line and Col
// count from 1, Col in characters; 0 means not known.
type SQLError struct {
	Line, Col    int
	Detail, Hint string
}

// Error implements error.
func (e *SQLError) Error() string { return e.Detail }

// sql returns the statement of a transform, or "" after reporting what is wrong with it.
func (l *loader) sql(f yamlFile, yamlPath string, s v1.SQL) string {
	return l.statement(f, yamlPath, s, "transform", l.opts.CheckSQL)
}

// statement returns an SQL statement, or "" after reporting what is wrong with it. kind tells the checks
// apart that a file may have to pass.
func (l *loader) statement(f yamlFile, yamlPath string, s v1.SQL, kind string, check func(file, text string) error) string {
	if s.Inline() {
		text := trimStatement(string(s))
		if fault := checkSQL(f.name, text, check); fault != nil {
			fault.Line, fault.Col = f.doc.TextPlace(yamlPath, fault.Line, fault.Col)
			fault.Path = yamlPath
			l.add(f.name, *fault)
			return ""
		}
		return text
	}
	name := path.Clean(string(s))
	switch {
	case strings.Contains(name, `\`):
		l.fault(f, yamlPath, tarn.CodeInvalid, fmt.Sprintf("the path %q has backslashes", name), "write slashes")
		return ""
	case path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../"):
		l.fault(f, yamlPath, tarn.CodeForbidden, fmt.Sprintf("%s leads out of the project", name), "copy the file into sql/")
		return ""
	}
	key := kind + " " + name
	if text, read := l.sqlText[key]; read {
		return text // its faults have been reported
	}
	text, fault := l.sqlFile(name)
	if fault != nil {
		// A file that is not there is the fault of the line that names it.
		l.fault(f, yamlPath, fault.Code, fault.Detail, fault.Hint)
		return ""
	}
	l.sqlText[key], text = "", trimStatement(text)
	if fault := checkSQL(name, text, check); fault != nil {
		l.add(name, *fault)
		return ""
	}
	l.sqlText[key] = text
	return text
}

// sqlFile reads a file of SQL text.
func (l *loader) sqlFile(name string) (string, *strictyaml.Fault) {
	b, fault := l.read(name, maxSQLBytes, "create it, or mend the path")
	if fault != nil {
		return "", fault
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "", &strictyaml.Fault{Code: CodeEncoding, Detail: name + " is not UTF-8 text", Hint: "save the file as UTF-8"}
	}
	return text, nil
}

// checkSQL returns the fault of a statement at its place in text.
func checkSQL(file, text string, check func(file, text string) error) *strictyaml.Fault {
	if blankSQL(text) {
		return &strictyaml.Fault{Line: 1, Col: 1, Code: CodeMissing, Detail: "there is no statement", Hint: "write SELECT … FROM records"}
	}
	if check == nil {
		return nil
	}
	err := check(file, text)
	if err == nil {
		return nil
	}
	fault := sqlFault(err)
	return &fault
}

// blankSQL reports whether text holds nothing but blanks, comments and semicolons.
func blankSQL(text string) bool {
	for i := 0; i < len(text); {
		next, counts := sqlToken(text, i)
		if counts {
			return false
		}
		i = next
	}
	return true
}

var (
	duckLine  = regexp.MustCompile(`(?m)^LINE (\d+): `)
	placeText = regexp.MustCompile(`^line (\d+), column (\d+): `)
)

// sqlFault takes the place and the reason out of an error of CheckSQL or Describe.
func sqlFault(err error) strictyaml.Fault {
	f := strictyaml.Fault{Line: 1, Col: 1, Code: CodeSQL}
	var se *SQLError
	var te *tarn.Error
	switch {
	case errors.As(err, &se):
		f.Line, f.Col, f.Detail, f.Hint = max(1, se.Line), max(1, se.Col), se.Detail, se.Hint
		return f
	case errors.As(err, &te):
		f.Detail, f.Hint = te.Detail, te.Hint
	default:
		f.Detail = err.Error()
	}
	if m := placeText.FindStringSubmatch(f.Detail); m != nil {
		f.Line, _ = strconv.Atoi(m[1])
		f.Col, _ = strconv.Atoi(m[2])
		f.Detail = f.Detail[len(m[0]):]
	} else if m := duckLine.FindStringSubmatchIndex(f.Detail); m != nil {
		f.Line, _ = strconv.Atoi(f.Detail[m[2]:m[3]])
		quoted, below, _ := strings.Cut(f.Detail[m[0]:], "\n")
		below, _, _ = strings.Cut(below, "\n")
		// The caret counts characters after "LINE n: ", unless DuckDB clipped the line.
		if caret := strings.IndexByte(below, '^'); caret >= m[1]-m[0] && !strings.HasPrefix(quoted[m[1]-m[0]:], "...") {
			f.Col = caret - (m[1] - m[0]) + 1
		}
		f.Detail = f.Detail[:m[0]]
	}
	f.Detail = strings.Join(strings.Fields(f.Detail), " ") // one fault, one line
	return f
}

// describe returns the columns after a statement, or nil when they are not known.
func (l *loader) describe(f yamlFile, yamlPath string, s v1.SQL, text string, input *columnsIn) *columnsIn {
	if text == "" || input == nil || l.opts.Describe == nil {
		return nil
	}
	fields, err := l.opts.Describe(text, tarn.Schema{Fields: input.fields})
	if err == nil {
		from := "the result of " + yamlPath
		if !s.Inline() {
			from = "the result of " + path.Clean(string(s))
		}
		return &columnsIn{fields, from}
	}
	fault := sqlFault(err)
	if s.Inline() {
		fault.Line, fault.Col = f.doc.TextPlace(yamlPath, fault.Line, fault.Col)
		fault.Path = yamlPath
		l.add(f.name, fault)
	} else {
		l.add(path.Clean(string(s)), fault)
	}
	return nil
}

// columnHint offers the nearest column.
func columnHint(name string, known []string) string {
	if near := strictyaml.Nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "known columns: " + strings.Join(known, ", ")
}
