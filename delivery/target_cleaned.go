package delivery

import (
	"context"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/table"
)

// cleanedTarget is the zone cleaned: records as they leave the functions, byte for byte, as long as
// they pass the filters and rules that stand before the user's SQL. Masks and names do not change
// what is kept.
type cleanedTarget struct{ *Worker }

// judging returns the steps that decide which records the zone cleaned gets: those before the user's
// SQL, behind which there are rows and no records.
func judging(steps []Step) []Step {
	for i, s := range steps {
		if s.Kind() == project.StepSQL {
			return steps[:i]
		}
	}
	return steps
}

func (w cleanedTarget) begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	if w.cfg.Retry == nil { // a retry runs beside a session, whose objects are on their way
		if err := w.cfg.Cleaned.Sweep(ctx); err != nil {
			return nil, nil, err
		}
	}
	docs, err := w.cfg.Store.Documents(ctx, w.cfg.Table)
	if err != nil {
		return nil, nil, err
	}
	rows, err := w.cfg.Store.Progress(ctx, w.cfg.Table)
	return docs, rows, err
}

func (w cleanedTarget) end() {}

// exists: progress can be committed without an object.
func (w cleanedTarget) exists(context.Context) bool { return true }

// compactTail has nothing to do: no query reads this tail.
func (w cleanedTarget) compactTail(context.Context, int) error { return nil }

func (w cleanedTarget) prepare(ctx context.Context, in *inputSchema, _ func(context.Context) error) (*plan, error) {
	if w.plan != nil && w.planned == in {
		return w.plan, nil
	}
	r, err := w.bind(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(r, w.tr.exact, in, &table.State{Name: w.cfg.Table, Schema: tarn.Schema{Fields: flat(r.fields)}}, w.cfg)
	if err != nil {
		return nil, err
	}
	if !w.cfg.Opaque {
		p.fits = fitting(in, p.bytes)
	}
	if w.judges() {
		p.sift = "SELECT " + lineColumn + ", " + brokenColumn + " FROM (" + r.trace + "\n) ORDER BY 1"
	}
	w.plan, w.planned = p, in
	return p, nil
}

// judges reports whether any step may keep a record back.
func (w cleanedTarget) judges() bool {
	for _, s := range w.tr.steps {
		if s.Kind() == project.StepFilter || s.Kind() == project.StepValidate {
			return true
		}
	}
	return false
}

// fitting is a plan that looks at every value of the records and keeps none: it fails where one does not fit its column,
// whatever the steps ask for.
func fitting(in *inputSchema, bytes int) *plan {
	counts := make([]string, len(in.schema.Fields))
	for i, f := range in.schema.Fields {
		counts[i] = "count(" + tarn.QuoteIdent(f.Name) + ")"
	}
	return &plan{input: in, bytes: bytes, prefix: "SELECT " + strings.Join(counts, ", ") + " FROM "}
}

// rows finds out which records of a chunk pass. Those that break a rule become failed records, as do those that do not
// fit the columns.
func (w cleanedTarget) rows(ctx context.Context, c *chunk, p *plan, it *item) error {
	if p.fits != nil {
		err := p.fits.converted(ctx, w.conv.db, c, func(sel string) error {
			_, err := w.conv.db.Values(ctx, sel)
			return err
		})
		if err != nil {
			return err
		}
	}
	if p.sift == "" {
		it.rows = int64(c.lines)
		return it.keep(c, p)
	}
	found, err := w.conv.db.Values(ctx, p.sifting(c.path))
	if err != nil {
		return err
	}
	passing := make([]int, 0, len(found))
	var faults []fault
	for _, row := range found {
		line, _ := row[0].(int64)
		if rule, broken := row[1].(string); broken {
			faults = append(faults, fault{line: int(line), stage: stageValidate, reason: ruleText(rule)})
			continue
		}
		passing = append(passing, int(line))
	}
	if err := w.reject(ctx, c, faults); err != nil {
		return err
	}
	it.failed, it.failedBytes, it.rows = c.failed, c.refused, int64(len(passing))
	if err := it.keep(c, p); err != nil {
		return err
	}
	it.kept.passing = passing
	return nil
}

// reject makes failed records of lines at fault, which are in order.
func (w cleanedTarget) reject(ctx context.Context, c *chunk, faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	next := 0
	return c.eachLine(func(line int, text []byte) error {
		if next < len(faults) && faults[next].line == line {
			c.fail(w.blame(ctx, c, faults[next], text))
			next++
		}
		return nil
	})
}

func (w cleanedTarget) commit(ctx context.Context, n int) error {
	return w.inParts(ctx, n, w.commitSome)
}

// commitSome commits the first of the items, and returns how many.
func (w cleanedTarget) commitSome(ctx context.Context, items []*item) (int, error) {
	began := time.Now()
	var b batch
	var rows int64
	out := w.cfg.Cleaned.NewWriter(w.cfg.Source.Name(), w.cfg.Dir)
	defer out.Close()
	for _, it := range items {
		if err := it.kept.each(out.Add); err != nil {
			return 0, err
		}
		rows += it.rows
		if b.add(it) {
			break
		}
	}
	objects, err := out.Put(ctx)
	if err != nil {
		return 0, err
	}
	written := time.Now()
	all := mergeItems(b.items, nil, true)
	c, err := w.accounted(table.Commit{Progress: w.moves(all.spans), Failed: all.failed, Documents: w.input.documents()})
	if err != nil {
		return 0, err
	}
	err = w.cfg.Ledger.Record(ctx, w.cfg.Table, c, func(tx *metadb.Tx) error { return w.cfg.Cleaned.Register(ctx, tx, objects) }) // I2
	if err != nil {
		return 0, err
	}
	w.tail.take(len(b.items))
	w.landed(b.items, c, rows, time.Since(began), time.Since(written))
	return len(b.items), nil
}

// each calls f with every record that is to be kept.
func (k *kept) each(f func(shard int, offset uint64, arrival time.Time, line []byte) error) error {
	if k == nil {
		return nil
	}
	next := 0
	return k.eachLine(func(line int, text []byte) error {
		if k.passing != nil {
			if next == len(k.passing) || k.passing[next] != line {
				return nil
			}
			next++
		}
		r, offset := k.locate(line)
		return f(r.shard, offset, r.arrive, text)
	})
}

// sifting returns the SELECT of plan.sift over the lines of an NDJSON file.
func (p *plan) sifting(file string) string {
	return strings.Replace(p.sift, recordsMark, p.records(file), 1)
}
