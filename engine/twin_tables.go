package engine

import (
	"context"

	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/twin"
)

// kindTwin is the kind of a table that a twin is in SQL.
const kindTwin = "twin"

// twinDocs describes the twins among the tables.
func (e *Engine) twinDocs(ctx context.Context) ([]server.TableDoc, error) {
	var docs []server.TableDoc
	for _, t := range e.twins.Twins() {
		d, err := e.twinTableDoc(ctx, t)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

func (e *Engine) twinTableDoc(ctx context.Context, t *twin.Twin) (server.TableDoc, error) {
	d := server.TableDoc{Name: twinSchema + t.Name(), Kind: kindTwin, Partition: []string{}, Location: "the metadata database"}
	if e.twinDB != nil {
		d.Location = e.path("meta", twinFile)
	}
	size, err := t.Size(ctx)
	d.Rows, d.Bytes, d.UpdatedAt = size.Values, size.MemoryBytes, size.Newest
	return d, err
}

// describeTwin describes a twin as a table in full. CodeNotFound when there is none of that name.
func (e *Engine) describeTwin(ctx context.Context, name string) (server.TableDoc, error) {
	t, err := e.twins.Twin(name)
	if err != nil {
		return server.TableDoc{}, err
	}
	d, err := e.twinTableDoc(ctx, t)
	for _, f := range twinColumns().Fields {
		d.Columns = append(d.Columns, server.ColumnDoc{ID: f.ID, Name: f.Name, Type: f.Type.SQL()})
	}
	return d, err
}

// twinTableRows are the rows of system.tables that the twins have.
func twinTableRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	docs, err := e.twinDocs(ctx)
	for _, d := range docs {
		var updated any
		if !d.UpdatedAt.IsZero() {
			updated = d.UpdatedAt
		}
		rows = append(rows, []any{d.Name, nil, d.Location, nil, "", nil, d.Rows, 0, 0, d.Bytes, updated, d.Kind})
	}
	return rows, err
}

// twinColumnRows are the rows of system.columns that the twins have.
func twinColumnRows(e *Engine) (rows [][]any) {
	for _, t := range e.twinInfos() {
		for i, f := range t.Schema.Fields {
			rows = append(rows, []any{t.Name, i + 1, f.ID, f.Name, f.Type.SQL(), f.Required, f.Doc})
		}
	}
	return rows
}

// verifyTwins proves that no twin was put back behind the progress of the extracts that feed it.
func (e *Engine) verifyTwins(ctx context.Context, problem func(string, string, ...any)) error {
	for _, x := range e.running.Load().extracts {
		if x.spec.To.Twin == "" {
			continue
		}
		t, err := e.twins.Twin(x.spec.To.Twin)
		if err != nil {
			return err
		}
		docs, err := e.store.Documents(ctx, x.spec.DeliveryName())
		if err != nil {
			return err
		}
		why, err := extract.TwinBehind(ctx, t, docs)
		if err != nil {
			return err
		}
		if why != "" {
			problem("extract "+x.spec.Name, "%s", why)
		}
	}
	return nil
}
