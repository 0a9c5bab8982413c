package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/cleaned"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
)

// reservedTables are the tables that the project declares.
func reservedTables(p *project.Project) []string {
	var names []string
	if p == nil {
		return nil
	}
	for _, l := range p.Pipelines {
		names = append(names, "raw."+l.Stream.Name)
		for _, d := range l.Deliveries {
			names = append(names, d.Name, d.Table)
		}
	}
	return names
}

// keptNames are the tables of the streams that have or had a raw backup, and of the deliveries that have
// brought records to the zone cleaned.
func keptNames(ctx context.Context, db *metadb.DB) ([]string, error) {
	streams, err := raw.Streams(ctx, db)
	if err != nil {
		return nil, err
	}
	passed, err := cleaned.Names(ctx, db)
	var names []string
	for _, s := range streams {
		names = append(names, "raw."+s)
	}
	for _, n := range passed {
		names = append(names, cleanedZone+n)
	}
	return names, err
}

// checkNames refuses raw backups, and deliveries to the zone cleaned, whose table is an external table
// already, before anything changes. The other way round the catalog refuses.
func (e *Engine) checkNames(ctx context.Context, p *project.Project) error {
	var taken []error
	for i := range p.Pipelines {
		l := &p.Pipelines[i]
		if l.RawBackup {
			taken = append(taken, e.checkFree(ctx, "raw."+l.Stream.Name, l.File+": the raw backup", "give the stream another name"))
		}
		for _, d := range l.Deliveries {
			if d.Cleaned != "" {
				taken = append(taken, e.checkFree(ctx, d.Name, l.File+": the delivery", "choose another name"))
			}
		}
	}
	return errors.Join(taken...)
}

// checkFree refuses a name that an external table has.
func (e *Engine) checkFree(ctx context.Context, name, what, hint string) error {
	t, err := e.catalog.Table(ctx, name)
	if tarn.CodeOf(err) == tarn.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return &tarn.Error{Code: tarn.CodeConflict,
		Detail: fmt.Sprintf("%s would be the table %s, which is an external table of the crawler %s", what, t.Name, t.Crawler),
		Hint:   fmt.Sprintf("%s, or let go of that table: tarn crawl %s --forget", hint, strings.TrimPrefix(t.Crawler, "path:"))}
}
