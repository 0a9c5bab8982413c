package engine

import (
	"context"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/query"
)

// checkTime bounds the check of one SQL statement of a project.
const checkTime = 10 * time.Second

// Checker lends the loading of projects an SQL engine. Close it after the last use.
type Checker struct{ db *duck.DB }

// NewChecker opens a small SQL engine of its own, without access to any file.
func NewChecker() (*Checker, error) {
	db, err := duck.Open(duck.Options{MemoryBytes: 64 << 20, Threads: 1})
	if err != nil {
		return nil, err
	}
	return &Checker{db}, nil
}

// Close ends the SQL engine.
func (c *Checker) Close() error { return c.db.Close() }

// Options are the checks of project.LoadDir that need SQL.
func (c *Checker) Options() project.Options { return projectOptions(c.db) }

func projectOptions(db *duck.DB) project.Options {
	return project.Options{
		CheckSQL: func(_, sql string) error {
			ctx, cancel := context.WithTimeout(context.Background(), checkTime)
			defer cancel()
			checked, err := db.CheckSelect(ctx, sql)
			if err != nil {
				return query.HintAt(err, sql)
			}
			if len(checked.Findings) > 0 {
				f := checked.Findings[0]
				return &project.SQLError{Line: f.Position.Line, Col: f.Position.Column, Detail: f.Detail,
					Hint: "a transform works record by record; aggregate with tarn sql, over the table"}
			}
			for _, t := range checked.Tables {
				if !strings.EqualFold(t, "records") {
					return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the transform reads " + t + ", but only the relation records is there", Hint: "write SELECT … FROM records"}
				}
			}
			return nil
		},
		CheckExtract: func(sql string, rules project.ExtractRules) error {
			ctx, cancel := context.WithTimeout(context.Background(), checkTime)
			defer cancel()
			return query.HintAt(extract.Check(ctx, db, sql, rules), sql)
		},
		Describe: func(sql string, input tarn.Schema) ([]tarn.Field, error) {
			ctx, cancel := context.WithTimeout(context.Background(), checkTime)
			defer cancel()
			before := "WITH records AS (SELECT * FROM " + duck.Empty(input) + ") SELECT * FROM (\n"
			fields, err := db.Describe(ctx, before+sql+"\n)")
			return fields, query.PlaceIn(err, before, sql)
		},
	}
}

// rowByRow reports whether a transform surely gives one row for every record. It errs on the side of
// no, which only means that the counts of rows and records are not held against each other.
func rowByRow(sql string) bool {
	lower := strings.ToLower(sql)
	for _, word := range []string{"where", "unnest", "qualify", "having", "pivot", "join", "union", "intersect", "except", "values", "generate", "range", "limit", "sample"} {
		if strings.Contains(lower, word) {
			return false
		}
	}
	from := strings.LastIndex(lower, "from")
	return from < 0 || !strings.Contains(lower[from:], ",") // a list of relations is a join
}
