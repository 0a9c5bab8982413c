package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/twin"
)

// twinFile is the file of the twins in the folder meta.
const twinFile = "twins.db"

// openTwins opens the store of the twins. An SQLite file of their own keeps the many small commits of
// tables from waiting behind a thousand updates of a twin at a time; on PostgreSQL, where nodes share
// them, they lie with the rest of the metadata.
func (e *Engine) openTwins(ctx context.Context) (err error) {
	db := e.db
	if !db.Postgres() {
		if e.twinDB, err = metadb.Open(ctx, e.path("meta", twinFile), metadb.Options{Logger: e.log, WALBytes: twin.WALBytes}); err != nil {
			return fmt.Errorf("twins: %w", err)
		}
		db = e.twinDB
	}
	e.twins = twin.Open(db, twin.Options{MemoryBytes: e.budget.twins, Query: e.queryRows, Logger: e.log, Applied: func(name string, r twin.Result) {
		for outcome, n := range map[string]int{"applied": r.Applied, "old": r.Old, "rejected": len(r.Rejected)} {
			e.metrics.TwinUpdates.WithLabelValues(name, outcome).Add(float64(n))
		}
	}})
	return nil
}

// applyTwins makes the twins those of a project.
func (e *Engine) applyTwins(ctx context.Context, p *project.Project) error {
	var specs []twin.Spec
	for i := range p.Twins {
		specs = append(specs, twinSpec(&p.Twins[i]))
	}
	return e.twins.Configure(ctx, specs)
}

// Twin returns a twin of the project. CodeNotFound when there is none of that name.
func (e *Engine) Twin(name string) (*twin.Twin, error) { return e.twins.Twin(name) }

func twinSpec(t *project.Twin) twin.Spec {
	spec := twin.Spec{Name: t.Name, ExpireAfter: t.ExpireAfter, History: t.History, Unknown: twin.Unknown(t.Unknown)}
	for _, typ := range t.Types {
		if spec.Types == nil {
			spec.Types = map[string]map[string]twin.MetricSpec{}
		}
		metrics := map[string]twin.MetricSpec{}
		for _, m := range typ.Metrics {
			kind, _ := twin.ParseKind(m.Kind) // the project was checked
			metrics[m.Name] = twin.MetricSpec{Kind: kind, Unit: m.Unit}
		}
		spec.Types[typ.Name] = metrics
	}
	return spec
}

// queryRows runs SQL over the lake for the history of twins.
func (e *Engine) queryRows(ctx context.Context, sql string, params []any) (columns []string, rows []map[string]any, err error) {
	res, err := e.queries.Run(ctx, query.Request{SQL: sql, Params: params, Format: query.NDJSON})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	for _, c := range res.Columns() {
		columns = append(columns, c.Name)
	}
	var b bytes.Buffer
	if err := res.Write(&b); err != nil {
		return nil, nil, err
	}
	dec := json.NewDecoder(&b)
	dec.UseNumber()
	for dec.More() {
		var row map[string]any
		if err := dec.Decode(&row); err != nil {
			return nil, nil, err
		}
		rows = append(rows, row)
	}
	return columns, rows, nil
}

// twinSchema is the zone of SQL that the twins are in.
const twinSchema = "twin."

// twinInfos lists the twins for the SQL service.
func (e *Engine) twinInfos() []query.TableInfo {
	var infos []query.TableInfo
	for _, t := range e.twins.Twins() {
		infos = append(infos, query.TableInfo{Name: twinSchema + t.Name(), Schema: twinColumns()})
	}
	slices.SortFunc(infos, func(a, b query.TableInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}
