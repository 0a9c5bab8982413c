package delivery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// fault is a record that can not be converted, by its line in the chunk.
type fault struct {
	line   int
	stage  string
	reason string
}

// The stages a record can fail in.
const (
	stageDecode   = "decode"   // the record is not of the pipeline's format
	stageFunction = "function" // the user's code fails on it, or says so
	stageConvert  = "convert"  // the record does not fit the columns it is read into
	stageSQL      = "sql"      // the transform or a partition value fails on it
	stageValidate = "validate" // it breaks a rule
	stageDatabase = "database" // the database it is delivered to refuses its row
)

// blamesData reports whether an error of a conversion is about the records rather than the machine:
// only then does looking for the culprits help.
func blamesData(err error) bool {
	switch tarn.CodeOf(err) {
	case tarn.CodeInvalid, tarn.CodeSchema, tarn.CodeUnsupported:
		if f := duck.FaultOf(err); f != nil {
			switch f.Class { // these blame the statement, which is the same for every record
			case "Catalog Error", "Binder Error", "Parser Error":
				return false
			}
			return true
		}
	}
	return false
}

// isolate finds the records of a chunk that make its conversion fail. The ones whose values do not
// fit their columns are found in one pass; what remains is found by halving, so that a single bad
// record in n costs about 2·log₂ n conversions of ever smaller parts.
func (w *Worker) isolate(ctx context.Context, c *chunk, p *plan) ([]fault, error) {
	if err := c.complete(ctx); err != nil {
		return nil, err
	}
	faults, err := w.misfits(c)
	if err != nil {
		return nil, err
	}
	bad := make(map[int]bool, len(faults))
	for _, f := range faults {
		bad[f.line] = true
	}
	lines := make([]int, 0, c.lines)
	for i := range c.lines {
		if !bad[i] {
			lines = append(lines, i)
		}
	}
	texts, err := indexLines(c)
	if err != nil {
		return nil, err
	}
	defer texts.close()
	breaking, err := w.breaking(ctx, texts, p, lines)
	if err != nil {
		w.cfg.Logger.Debug("records that break a rule are found by halving", "because", err)
	}
	for _, f := range breaking {
		bad[f.line] = true
	}
	lines = slices.DeleteFunc(lines, func(line int) bool { return bad[line] })
	more, err := w.conv.halve(ctx, texts, p, lines)
	faults = slices.Concat(faults, breaking, more)
	sort.Slice(faults, func(i, j int) bool { return faults[i].line < faults[j].line })
	return faults, err
}

// breakingMemory is for the engine that finds broken rules.
const breakingMemory = 128 << 20

// breaking finds the records among lines that break a rule, all in one pass, in an engine of its own
// that keeps the order of the records.
func (w *Worker) breaking(ctx context.Context, texts *lineIndex, p *plan, lines []int) (_ []fault, err error) {
	if p.broken == "" || len(lines) == 0 {
		return nil, nil
	}
	in := fmt.Sprintf("%s/check-%d.ndjson", w.cfg.Dir, w.conv.serial.Add(1))
	defer os.Remove(in)
	if err := texts.write(in, lines); err != nil {
		return nil, err
	}
	db, err := duck.Open(duck.Options{MemoryBytes: breakingMemory, Threads: 1, AllowedDirs: []string{w.cfg.Dir}, Logger: w.cfg.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.Values(ctx, p.breaking(in))
	if err != nil {
		return nil, err
	}
	faults := make([]fault, len(rows))
	for i, row := range rows {
		line, _ := row[0].(int64)
		rule, _ := row[1].(string)
		if line < 0 || line >= int64(len(lines)) {
			return nil, fmt.Errorf("line %d of %d breaks a rule", line, len(lines))
		}
		faults[i] = fault{line: lines[line], stage: stageValidate, reason: ruleText(rule)}
	}
	return faults, nil
}

// halve returns the faults among lines.
func (cv *converter) halve(ctx context.Context, texts *lineIndex, p *plan, lines []int) ([]fault, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	err := cv.try(ctx, texts, p, lines)
	if err == nil {
		return nil, nil
	}
	if !blamesData(err) {
		return nil, err
	}
	if len(lines) == 1 {
		stage, reason := stageSQL, detail(err)
		if j, ok := duck.AsJSONFault(err); ok {
			stage, reason = stageConvert, j.Reason
		} else if _, rule, ok := strings.Cut(reason, ruleMark); ok {
			stage, reason = stageValidate, ruleText(rule)
		} else if !p.transforms {
			stage = stageConvert
		}
		reason, _, _ = strings.Cut(reason, "\n")
		return []fault{{line: lines[0], stage: stage, reason: reason}}, nil
	}
	mid := len(lines) / 2
	a, err := cv.halve(ctx, texts, p, lines[:mid])
	if err != nil {
		return nil, err
	}
	b, err := cv.halve(ctx, texts, p, lines[mid:])
	return append(a, b...), err
}

// try converts some lines for the sake of the error alone.
func (cv *converter) try(ctx context.Context, texts *lineIndex, p *plan, lines []int) error {
	in := fmt.Sprintf("%s/try-%d.ndjson", cv.dir, cv.serial.Add(1))
	defer os.Remove(in)
	if err := texts.write(in, lines); err != nil {
		return err
	}
	sel, _ := withPartitions(p.rows(in), p.parts)
	out := in + ".parquet"
	defer os.Remove(out)
	_, err := cv.db.Copy(ctx, sel, duck.CopyOptions{Path: out, Compression: "uncompressed"})
	return err
}

// misfits finds the records with a value that does not fit its column, and says which.
func (w *Worker) misfits(c *chunk) ([]fault, error) {
	if w.input.state == nil {
		return nil, nil
	}
	var faults []fault
	err := c.eachLine(func(line int, text []byte) error {
		m, err := w.input.state.Check(text)
		if err != nil {
			faults = append(faults, fault{line: line, stage: stageDecode, reason: detail(err)})
		} else if m != nil {
			faults = append(faults, fault{line: line, stage: stageConvert, reason: m.Err().Detail})
		}
		return nil
	})
	return faults, err
}

// detail is the part of an error that may be shown and stored.
func detail(err error) string {
	var e *tarn.Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return "the conversion failed"
}

// lineIndex gives random access to the lines of a chunk.
type lineIndex struct {
	file *os.File
	at   []int64 // offset of each line, and of the end
}

func indexLines(c *chunk) (*lineIndex, error) {
	x := &lineIndex{at: make([]int64, 1, c.lines+1)}
	err := c.eachLine(func(_ int, text []byte) error {
		x.at = append(x.at, x.at[len(x.at)-1]+int64(len(text))+1)
		return nil
	})
	if err == nil {
		x.file, err = os.Open(c.path)
	}
	return x, err
}

func (x *lineIndex) close() {
	if x.file != nil {
		_ = x.file.Close()
	}
}

// write copies lines, which are in ascending order, to a new file.
func (x *lineIndex) write(path string, lines []int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	var buf []byte
	for i := 0; i < len(lines) && err == nil; {
		j := i + 1
		for j < len(lines) && lines[j] == lines[j-1]+1 {
			j++
		}
		n := int(x.at[lines[j-1]+1] - x.at[lines[i]])
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		if _, err = x.file.ReadAt(buf[:n], x.at[lines[i]]); err == nil {
			_, err = w.Write(buf[:n])
		}
		i = j
	}
	return errors.Join(err, w.Flush(), f.Close())
}
