package delivery

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/table"
)

// prepare returns the plan for records of an input schema, creating or evolving the table first.
// settle commits what has been read before.
func (w tableTarget) prepare(ctx context.Context, in *inputSchema, settle func(context.Context) error) (*plan, error) {
	st, err := w.current(ctx)
	if err != nil && tarn.CodeOf(err) != tarn.CodeNotFound {
		return nil, err
	}
	look, err := w.lookup(ctx)
	if err != nil {
		return nil, err
	}
	if p := w.plan; p != nil && st != nil && w.planned == in && p.lookups == look && p.state.UUID == st.UUID && p.state.SchemaID == st.SchemaID {
		return p, nil
	}
	r, err := w.tr.resolve(ctx, w.cfg.Duck, w.cfg.relation(in.schema), look.with(), w.cfg.Declared == nil && !w.cfg.Opaque)
	if err != nil {
		return nil, err
	}
	w.warnMissing(r.missing)
	outputs := r.fields
	if st == nil {
		if len(outputs) == 0 {
			return nil, &tarn.Error{Code: tarn.CodeSchema, Detail: "no record has had a value for any column of the transform yet"}
		}
		def := table.Definition{Name: w.cfg.Table, Schema: tarn.Schema{Fields: outputs}, Partition: w.cfg.Partition, Properties: w.cfg.Properties}
		if _, err := partitionExprs(&table.State{Name: w.cfg.Table, Partition: w.cfg.Partition}, outputs); err != nil {
			return nil, err
		}
		st, err = w.create(ctx, def)
	} else if w.cfg.Policy == Evolve {
		st, err = w.evolve(ctx, st, outputs, settle)
	}
	if err != nil {
		return nil, err
	}
	p, err := newPlan(r, w.tr.exact, in, st, w.cfg)
	if err != nil {
		return nil, err
	}
	w.take(p, in, look)
	return p, nil
}

// create makes the table, and keeps the input schema that led to it: after a crash before the first
// commit the same records must be read the same way.
func (w tableTarget) create(ctx context.Context, def table.Definition) (*table.State, error) {
	if _, err := w.cfg.Store.Ensure(ctx, def); err != nil {
		return nil, err
	}
	documents := w.input.documents()
	if documents == nil {
		return w.current(ctx)
	}
	return w.cfg.Store.Commit(ctx, def.Name, table.Commit{Documents: documents})
}

// evolve gives the table the columns it lacks and the wider types it needs.
func (w tableTarget) evolve(ctx context.Context, st *table.State, outputs []tarn.Field, settle func(context.Context) error) (*table.State, error) {
	var change table.Change
	difference(st.Schema.Fields, outputs, nil, &change)
	change.Widen = slices.DeleteFunc(change.Widen, func(c table.Widen) bool {
		// A partition's values can not change type; a record that needs it fails alone.
		return slices.ContainsFunc(st.Partition, func(f tarn.PartitionField) bool { return strings.EqualFold(f.Source, c.Path[0]) })
	})
	if len(change.Add) == 0 && len(change.Widen) == 0 {
		return st, nil
	}
	if len(change.Widen) > 0 { // a column may get a new field id, which staged segments lack
		if err := settle(ctx); err != nil {
			return nil, err
		}
	}
	st, err := w.cfg.Store.Evolve(ctx, w.cfg.Table, change, w.conv.rewrite)
	if err == nil {
		w.cfg.Logger.Info("table evolved", "added", len(change.Add), "widened", len(change.Widen), "schema_id", st.SchemaID)
	}
	return st, err
}

// difference adds to change what have needs to hold values of want.
func difference(have, want []tarn.Field, at []string, change *table.Change) {
	for _, f := range want {
		h := find(have, f.Name)
		if h == nil {
			change.Add = append(change.Add, table.AddColumn{Parent: at, Field: f})
			continue
		}
		widen(h.Type, f.Type, append(at[:len(at):len(at)], h.Name), change)
	}
}

func widen(have, want tarn.Type, at []string, change *table.Change) {
	switch {
	case have.Kind == tarn.Struct && want.Kind == tarn.Struct:
		difference(have.Fields, want.Fields, at, change)
	case have.Kind == tarn.List && want.Kind == tarn.List:
		widen(have.Elem.Type, want.Elem.Type, append(at[:len(at):len(at)], "element"), change)
	case have.Kind == tarn.Map && want.Kind == tarn.Map:
		widen(have.Elem.Type, want.Elem.Type, append(at[:len(at):len(at)], "value"), change)
	case have.Kind == tarn.Int && (want.Kind == tarn.Long || want.Kind == tarn.Double),
		have.Kind == tarn.Long && want.Kind == tarn.Double,
		have.Kind == tarn.Float && want.Kind == tarn.Double,
		have.Kind == tarn.Decimal && want.Kind == tarn.Decimal && want.Scale == have.Scale && want.Precision > have.Precision:
		change.Widen = append(change.Widen, table.Widen{Path: at, Type: want})
	}
}

// partitionExprs returns the partition expressions of a table over some of its columns.
func partitionExprs(st *table.State, columns []tarn.Field) ([]part, error) {
	var parts []part
	for _, f := range st.Partition {
		col := find(columns, f.Source)
		if col == nil {
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%s: partition %s needs a column %q", st.Name, f, f.Source),
				Hint: "the columns are " + names(columns)}
		}
		e, err := partitionExpr(f, col.Type)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{expr: e, text: isText(f, col.Type)})
	}
	return parts, nil
}

func isText(f tarn.PartitionField, t tarn.Type) bool {
	return (f.Transform == tarn.Identity || f.Transform == tarn.Truncate) && (t.Kind == tarn.String || t.Kind == tarn.JSON)
}

func structOf(s tarn.Schema) tarn.Type { return tarn.Type{Kind: tarn.Struct, Fields: s.Fields} }

// rewrite is the table's Rewriter: it writes the rows of some files of one partition into one new
// file, in the types asked for.
func (cv *converter) rewrite(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
	paths := make([]string, len(o.Files))
	var want int64
	for i, f := range o.Files {
		paths[i] = f.Path
		want += f.Rows
	}
	read := tarn.Schema{Fields: storage(structOf(o.Read)).Fields}
	var write tarn.Schema
	var exprs []string
	for _, f := range storage(structOf(o.Write)).Fields {
		from := read.Lookup(f.Name)
		if from == nil {
			continue // added in the same change: NULL in every row
		}
		e := tarn.QuoteIdent(from.Name)
		if !f.Type.Equal(from.Type) {
			e = "CAST(" + e + " AS " + f.Type.SQL() + ")"
		}
		exprs = append(exprs, e+" AS "+tarn.QuoteIdent(f.Name))
		write.Fields = append(write.Fields, f)
	}
	if err := os.MkdirAll(cv.dir, 0o755); err != nil { // a worker that is held back has made none
		return nil, err
	}
	out := filepath.Join(cv.dir, fmt.Sprintf("rewrite-%d.parquet", cv.serial.Add(1)))
	defer os.Remove(out)
	done, err := cv.slot(ctx)
	if err != nil {
		return nil, err
	}
	written, err := cv.db.Copy(ctx, "SELECT "+strings.Join(exprs, ", ")+" FROM "+duck.ReadParquet(paths, read),
		duck.CopyOptions{Path: out, Compression: cv.compression, FieldIDs: write})
	done()
	if err != nil {
		return nil, err
	}
	if len(written) != 1 || written[0].Rows != want {
		return nil, fmt.Errorf("rewrite of %d files of %s lost rows", len(o.Files), o.Table.Name)
	}
	f := dataFile(written[0])
	f.Partition = o.Partition
	key := path.Join(o.Table.Prefix, table.PartitionPath(o.Table.Partition, o.Partition), uuid.NewString()+".parquet")
	f.Path = cv.bucket.URL(key)
	return []table.DataFile{f}, cv.bucket.PutFile(ctx, key, out)
}

// Rewriter returns a table.Rewriter for tables that no worker delivers to. dir is a folder on the local
// disk, made when needed; heavy is that of Config.
func Rewriter(db *duck.DB, bucket lake.Bucket, dir, compression string, heavy *semaphore.Weighted) table.Rewriter {
	if compression == "none" {
		compression = "uncompressed"
	}
	return (&converter{db: db, bucket: bucket, dir: dir, compression: compression, heavy: heavy}).rewrite
}

// Rewrite is a table.Rewriter for the worker's table.
func (w *Worker) Rewrite(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
	return w.conv.rewrite(ctx, o)
}
