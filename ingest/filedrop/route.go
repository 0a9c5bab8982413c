package filedrop

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/record"
)

// Route is a delivery and the condition under which it gets the records of a file: an SQL expression
// over the row of project.WhenColumns. Without a condition it gets those of every file.
type Route struct {
	Name string
	When string
}

// sampleRecords is how many of the first records a condition can look at.
const sampleRecords = 20

// route decides which deliveries get the records of a file. Without any condition it says nothing, and
// all get them.
func (d *Door) route(ctx context.Context, p *plan, name string, size int64, open func() (decode.Records, error)) error {
	conditions := 0
	for _, r := range d.o.Routes {
		if r.When != "" {
			conditions++
		}
	}
	if conditions == 0 {
		return nil
	}
	columns, sample, err := look(open, p.Read)
	if err != nil {
		return err
	}
	db, err := d.o.SQL()
	if err != nil {
		return err
	}
	file := fileRow(name, size, p.Read.Format, columns, sample)
	p.Routed, p.Routes = true, []string{}
	for _, r := range d.o.Routes {
		yes := r.When == ""
		if !yes {
			if yes, err = asks(ctx, db, r, file); err != nil {
				return err
			}
		}
		if yes {
			p.Routes = append(p.Routes, r.Name)
		}
	}
	return nil
}

// asks evaluates the condition of one route.
func asks(ctx context.Context, db *duck.DB, r Route, file string) (bool, error) {
	sql := "SELECT coalesce((" + r.When + "\n)::BOOLEAN, false) FROM (" + file + ") file"
	// The project was checked when it was loaded; this keeps the sandbox shut whoever made the options.
	tree, err := db.Parse(ctx, sql)
	if err == nil {
		err = duck.CheckFunctions(sql, tree)
	}
	var rows [][]any
	if err == nil {
		rows, err = db.Values(ctx, sql)
	}
	if err != nil {
		var known *tarn.Error
		if ctx.Err() == nil && errors.As(err, &known) && known.Code != tarn.CodeInternal {
			return false, &fileError{Fault{Code: tarn.CodeInvalid, Detail: "the condition of the delivery " + r.Name + " cannot be answered for this file: " + known.Detail,
				Hint: "mend its when: in the pipeline, then move the file back into the landing folder"}, err}
		}
		return false, err
	}
	yes, _ := rows[0][0].(bool)
	return yes, nil
}

// fileRow is SQL for the one row that conditions are asked over.
func fileRow(name string, size int64, format decode.Format, columns []string, sample []json.RawMessage) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = tarn.QuoteLiteral(c)
	}
	first, _ := json.Marshal(sample) // raw messages that are valid JSON
	return "SELECT " + tarn.QuoteLiteral(clean(name)) + " AS file_name, " + strconv.FormatInt(size, 10) + "::BIGINT AS file_size, " +
		tarn.QuoteLiteral(string(format)) + " AS format, [" + clean(strings.Join(quoted, ", ")) + "]::VARCHAR[] AS columns, " +
		tarn.QuoteLiteral(string(first)) + "::JSON AS sample"
}

// clean makes text that SQL takes: UTF-8 without NUL.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// look reads the first records that are valid, and the names of their members in order of first
// occurrence; of CSV the columns.
func look(open func() (decode.Records, error), p decode.Plan) (columns []string, sample []json.RawMessage, err error) {
	r, err := open()
	if err != nil {
		return nil, nil, faulty(err, 0)
	}
	defer r.Close()
	seen := map[string]bool{}
	note := func(name string) {
		if !seen[name] {
			seen[name] = true
			columns = append(columns, name)
		}
	}
	for _, c := range p.Columns {
		note(c.Name)
	}
	sample = []json.RawMessage{}
	for tries := 0; len(sample) < sampleRecords && tries < 10*sampleRecords; tries++ {
		rec, _, err := r.Next()
		var bad *decode.Reject
		if errors.As(err, &bad) {
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, faulty(err, 0)
		}
		if _, err := record.Shape(rec); err != nil {
			continue
		}
		sample = append(sample, append(json.RawMessage{}, rec...))
		for _, k := range keys(rec) {
			note(k)
		}
	}
	return columns, sample, nil
}

// keys returns the keys of a valid object in order.
func keys(rec []byte) []string {
	dec := json.NewDecoder(strings.NewReader(string(rec)))
	_, _ = dec.Token()
	var out []string
	for dec.More() {
		t, err := dec.Token()
		k, ok := t.(string)
		var skipped json.RawMessage
		if err != nil || !ok || dec.Decode(&skipped) != nil {
			break
		}
		out = append(out, k)
	}
	return out
}
