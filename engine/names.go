package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-data/tarn"
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

// backupNames are the tables of the streams that have or had a raw backup.
func backupNames(ctx context.Context, db *metadb.DB) ([]string, error) {
	streams, err := raw.Streams(ctx, db)
	for i, s := range streams {
		streams[i] = "raw." + s
	}
	return streams, err
}

// checkBackupNames refuses a raw backup whose table is an external table already, before anything
// changes. The other way round the catalog refuses.
func (e *Engine) checkBackupNames(ctx context.Context, p *project.Project) error {
	var taken []error
	for i := range p.Pipelines {
		l := &p.Pipelines[i]
		if !l.RawBackup {
			continue
		}
		t, err := e.catalog.Table(ctx, "raw."+l.Stream.Name)
		if tarn.CodeOf(err) == tarn.CodeNotFound {
			continue
		}
		if err != nil {
			return err
		}
		taken = append(taken, &tarn.Error{Code: tarn.CodeConflict,
			Detail: fmt.Sprintf("%s: the raw backup would be the table %s, which is an external table of the crawler %s", l.File, t.Name, t.Crawler),
			Hint:   fmt.Sprintf("give the stream another name, or let go of that table: tarn crawl %s --forget", strings.TrimPrefix(t.Crawler, "path:"))})
	}
	return errors.Join(taken...)
}
