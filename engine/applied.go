package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// Applied is the file of a data folder that holds the project applied last.
const Applied = "project.json"

// remember keeps what was applied, for tarn plan to compare with. It holds no secrets. What does not run
// at all is left out of it, so that the plan goes on to name it.
func (e *Engine) remember(ctx context.Context, p *project.Project, short []shortfall) error {
	p, err := e.inEffect(ctx, p)
	if err != nil {
		return err
	}
	isStopped := func(kind, name string) bool {
		return slices.ContainsFunc(short, func(s shortfall) bool { return s.state == stateStopped && s.kind == kind && s.name == name })
	}
	p.Pipelines = slices.DeleteFunc(p.Pipelines, func(l project.Pipeline) bool { return isStopped("pipeline", l.Name) })
	p.Extracts = slices.DeleteFunc(p.Extracts, func(x project.Extract) bool { return isStopped("extract", x.Name) })
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(e.path(Applied), b, 0o644)
}

// inEffect returns a copy of p with the partitioning that its tables and the versions that its functions
// really have, so that tarn plan shows what the project asks for and does not get every time, and not only
// before it is applied.
func (e *Engine) inEffect(ctx context.Context, p *project.Project) (*project.Project, error) {
	if p == nil {
		return nil, nil
	}
	out := *p
	out.Auth, out.Engines, out.Limits, out.Server = e.inForce.Auth, e.inForce.Engines, e.inForce.Limits, e.inForce.Server
	out.Pipelines, out.Extracts, out.Functions = slices.Clone(p.Pipelines), slices.Clone(p.Extracts), slices.Clone(p.Functions)
	for i, f := range out.Functions {
		if h := e.functions.get(f.Name); h != nil {
			out.Functions[i] = h.effective()
		}
	}
	for i := range out.Pipelines {
		l := &out.Pipelines[i]
		l.Deliveries = slices.Clone(l.Deliveries)
		for j := range l.Deliveries {
			st, err := e.state(ctx, l.Deliveries[j].Table)
			if err != nil {
				return nil, err
			}
			if st != nil {
				l.Deliveries[j].PartitionBy = st.Partition
			}
		}
	}
	return &out, nil
}

// checkForgotten refuses a project whose tables lie in the lake while the metadata database does not know
// them: it was deleted, or is another one. Going on would begin empty tables beside them and deliver what
// the streams keep a second time, without a sign that anything is wrong.
func (e *Engine) checkForgotten(ctx context.Context, p *project.Project) error {
	known, err := e.store.Names(ctx)
	if err != nil {
		return err
	}
	var tables, folders []string
	for _, name := range tablesOf(p) {
		if slices.Contains(known, name) {
			continue
		}
		folder, err := e.store.Forgotten(ctx, name)
		if err != nil {
			return err
		}
		if folder != "" {
			tables, folders = append(tables, name), append(folders, folder)
		}
	}
	if len(tables) == 0 {
		return nil
	}
	return &tarn.Error{Code: tarn.CodeConflict,
		Detail: fmt.Sprintf("the lake holds %s, and the metadata database knows nothing of it: was the database deleted, or is it another one? "+
			"Going on would make new, empty tables and deliver to them once more everything that the streams still keep", strings.Join(tables, ", ")),
		Hint: "restore the metadata database from a copy (it is " + e.path("meta", "tarn.db") + " unless engines.metadata says otherwise); " +
			"to begin anew without what is in the tables, move " + strings.Join(folders, " and ") + " out of the lake"}
}

// tablesOf returns the tables that a project delivers to.
func tablesOf(p *project.Project) []string {
	var names []string
	for _, l := range p.Pipelines {
		for _, d := range l.Deliveries {
			if d.Table != "" {
				names = append(names, d.Table)
			}
		}
	}
	for i := range p.Extracts {
		if name := p.Extracts[i].To.Table; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// checkPartition warns of a partitioning that differs from the table's, which stays as it is.
func (e *Engine) checkPartition(ctx context.Context, d project.Delivery) error {
	st, err := e.state(ctx, d.Table)
	if err != nil || st == nil || slices.Equal(st.Partition, d.PartitionBy) {
		return err
	}
	e.log.Warn("partition_by of a table that has data cannot change; the table keeps what it has",
		"table", d.Table, "has", fmt.Sprint(st.Partition), "project", fmt.Sprint(d.PartitionBy))
	return nil
}
