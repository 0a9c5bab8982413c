package cases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/project"
)

// The files of a case.
const (
	inputFile    = "input.ndjson"
	expectedFile = "expected.ndjson"
	failedFile   = "expected_failed.ndjson"
)

// Result is the outcome of one case.
type Result struct {
	Pipeline string  `json:"pipeline"`
	Case     string  `json:"case"`
	OK       bool    `json:"ok"`
	Updated  bool    `json:"updated,omitempty"` // the expectations were written
	Millis   float64 `json:"ms"`
	Error    string  `json:"error,omitempty"` // why it could not be run
	Rows     *Diff   `json:"rows,omitempty"`
	Failed   *Diff   `json:"failed,omitempty"`
}

// Run runs one case. With update, the expectations become what came out.
func Run(ctx context.Context, t *engine.Trial, c project.Case, update bool) Result {
	began := time.Now()
	r := Result{Pipeline: c.Pipeline, Case: c.Name}
	if err := r.run(ctx, t, c, update); err != nil {
		r.Error = text(err)
	}
	r.OK = r.Error == "" && (r.Updated || r.Rows.OK() && r.Failed.OK())
	r.Millis = float64(time.Since(began).Microseconds()) / 1000
	return r
}

func text(err error) string {
	var e *tarn.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if e.Hint != "" {
		return e.Detail + "; " + e.Hint
	}
	return e.Detail
}

func (r *Result) run(ctx context.Context, t *engine.Trial, c project.Case, update bool) error {
	input, err := os.ReadFile(filepath.Join(c.Dir, inputFile))
	if err != nil {
		return fmt.Errorf("%s cannot be read", inputFile)
	}
	came, err := t.Run(ctx, c.Pipeline, input, c.OrderBy)
	if err != nil {
		return err
	}
	rows, err := Parse(came.Rows, c.Ignore)
	if err != nil {
		return err
	}
	failed, err := failures(came.Failed)
	if err != nil {
		return err
	}
	ordered := len(c.OrderBy) > 0
	if update {
		r.Updated = true
		return errors.Join(write(c, expectedFile, Format(rows, ordered), true), write(c, failedFile, Format(failed, true), false))
	}
	want, found, err := expected(c, expectedFile, c.Ignore)
	if err != nil {
		return err
	}
	wantFailed, foundFailed, err := expected(c, failedFile, nil)
	if err != nil {
		return err
	}
	if !found && !foundFailed {
		return &tarn.Error{Detail: "nothing is expected of it yet", Hint: "look at what comes out with tarn test --update and git diff"}
	}
	dr, df := Compare(want, rows, ordered), Compare(wantFailed, asWanted(failed, wantFailed), false)
	r.Rows, r.Failed = &dr, &df
	return nil
}

// failures are failed records as rows, in order of their lines.
func failures(list []engine.TrialFailure) ([]Row, error) {
	slices.SortFunc(list, func(a, b engine.TrialFailure) int { return a.Line - b.Line })
	var ndjson []byte
	for _, f := range list {
		rec := json.RawMessage(f.Record)
		if !json.Valid(f.Record) {
			rec, _ = json.Marshal(string(f.Record)) // a string always encodes
		}
		line, err := json.Marshal(map[string]any{"line": f.Line, "stage": f.Stage, "reason": f.Reason, "record": rec})
		if err != nil {
			return nil, err
		}
		ndjson = append(append(ndjson, line...), '\n')
	}
	return Parse(ndjson, nil)
}

// asWanted leaves out what no expectation speaks of, so that those written by hand may name the line alone.
func asWanted(rows, want []Row) []Row {
	spoken := map[string]bool{}
	for _, w := range want {
		for k := range w {
			spoken[k] = true
		}
	}
	if len(want) == 0 {
		return rows
	}
	out := make([]Row, len(rows))
	for i, r := range rows {
		out[i] = Row{}
		for k, v := range r {
			if spoken[k] {
				out[i][k] = v
			}
		}
	}
	return out
}

func expected(c project.Case, name string, ignore []string) (rows []Row, found bool, err error) {
	b, err := os.ReadFile(filepath.Join(c.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s cannot be read", name)
	}
	if rows, err = Parse(b, ignore); err != nil {
		return nil, true, fmt.Errorf("%s: %w", name, err)
	}
	return rows, true, nil
}

// write writes an expectation; an empty one that need not be there is removed.
func write(c project.Case, name string, text []byte, always bool) error {
	path := filepath.Join(c.Dir, name)
	if len(text) == 0 && !always {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.WriteFile(path, text, 0o644)
}

// Record writes the input of a case that is not there yet.
func Record(c project.Case, input []byte) error {
	path := filepath.Join(c.Dir, inputFile)
	if _, err := os.Stat(path); err == nil {
		return &tarn.Error{Code: tarn.CodeConflict, Detail: "the case " + c.Pipeline + "/" + c.Name + " exists already", Hint: "give another name with --case, or remove its folder"}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, input, 0o644)
}
