package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tarn-data/tarn/delivery/database"
)

// bring writes the rows of an item into a database. Records whose rows it refuses become failed
// records, and the others are written all the same.
func (w *databaseTarget) bring(ctx context.Context, tx *database.Tx, it *item) error {
	if it.kept == nil { // nothing but failed and passed over records
		return nil
	}
	rows, err := w.staged(ctx, it)
	if err != nil {
		return err
	}
	var refused *database.RefusedError
	if err = tx.Insert(ctx, it.kept.plan.layout, rows); err == nil || !errors.As(err, &refused) {
		return err
	}
	texts, err := indexLines(it.kept.chunk)
	if err != nil {
		return err
	}
	defer texts.close()
	lines := make([]int, it.kept.lines)
	for i := range lines {
		lines[i] = i
	}
	b := bringer{w: w, tx: tx, plan: it.kept.plan, texts: texts, rows: rows}
	if err := b.halve(ctx, lines, refused); err != nil {
		return err
	}
	return w.refuse(ctx, it, texts, b.faults, b.written)
}

// refuse accounts for the records at fault, after the rows of the others have been written.
func (w *databaseTarget) refuse(ctx context.Context, it *item, texts *lineIndex, faults []fault, written int64) error {
	for _, f := range faults {
		text, err := texts.line(f.line)
		if err != nil {
			return err
		}
		it.kept.fail(w.blame(ctx, it.kept.chunk, f, text))
	}
	w.tail.mu.Lock() // the status reads what is in the tail
	it.failed, it.failedBytes, it.rows = it.kept.failed, it.kept.refused, written
	it.spans = w.tallies(it.kept.chunk, it)
	w.tail.mu.Unlock()
	if m := w.cfg.Metrics.Failed; m != nil {
		m(stageDatabase, len(faults))
	}
	return nil
}

// bringer finds the lines of a chunk whose rows a database refuses, by halving, and writes the
// others on the way. One bad record in n costs about 2·log₂ n attempts of ever fewer rows.
type bringer struct {
	w       *databaseTarget
	tx      *database.Tx
	plan    *plan
	texts   *lineIndex
	rows    [][]any // of all lines, when each line gives exactly one row
	faults  []fault // by line
	written int64
}

// halve deals with lines of which the database has refused some.
func (b *bringer) halve(ctx context.Context, lines []int, why *database.RefusedError) error {
	if len(lines) == 1 {
		b.faults = append(b.faults, fault{line: lines[0], stage: stageDatabase, reason: why.Error()})
		return nil
	}
	mid := len(lines) / 2
	for _, half := range [][]int{lines[:mid], lines[mid:]} {
		rows, err := b.rowsOf(ctx, half)
		if err == nil {
			err = b.tx.Insert(ctx, b.plan.layout, rows)
		}
		var refused *database.RefusedError
		switch {
		case err == nil:
			b.written += int64(len(rows))
		case !errors.As(err, &refused):
			return err
		default:
			if err := b.halve(ctx, half, refused); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowsOf returns the rows of some lines. Which rows come from which lines is known only of a transform
// that is row by row; with any other the lines are converted again.
func (b *bringer) rowsOf(ctx context.Context, lines []int) ([][]any, error) {
	if b.plan.exact {
		return b.rows[lines[0] : lines[len(lines)-1]+1], nil
	}
	in := fmt.Sprintf("%s/bring-%d.ndjson", b.w.cfg.Dir, b.w.conv.serial.Add(1))
	defer os.Remove(in)
	if err := b.texts.write(in, lines); err != nil {
		return nil, err
	}
	return b.w.conv.db.Values(ctx, b.plan.rows(in))
}

// line returns the text of one line.
func (x *lineIndex) line(i int) ([]byte, error) {
	text := make([]byte, x.at[i+1]-x.at[i]-1)
	_, err := x.file.ReadAt(text, x.at[i])
	return text, err
}
