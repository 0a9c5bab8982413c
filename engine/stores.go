package engine

import (
	"context"
	"fmt"
	"os"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
)

// offline returns an engine that runs nothing, and its project: for commands that work on the stores
// themselves, whether the server runs or not.
func offline(opts Options) (*Engine, *project.Project, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	p, faults := project.LoadDir(opts.Project, project.Options{})
	return &Engine{opts: opts, log: opts.Logger}, p, faults.Err()
}

// openMetadata opens the metadata database of a project.
func (e *Engine) openMetadata(ctx context.Context, p *project.Project) (*metadb.DB, error) {
	if err := os.MkdirAll(e.path("meta"), 0o755); err != nil {
		return nil, e.noDataFolder(err)
	}
	url, err := e.metadataURL(p)
	if err != nil {
		return nil, err
	}
	db, err := metadb.Open(ctx, url, metadb.Options{Logger: e.log})
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return db, nil
}

// noDataFolder is the error of a data folder that cannot be written to.
func (e *Engine) noDataFolder(err error) error {
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the data folder " + e.opts.Data + " cannot be made", Hint: "choose another with --data", Err: err}
}

// lakeFolder is where the lake of a project lies.
func (e *Engine) lakeFolder(p *project.Project) (string, error) {
	if p.Engines.Lake.IsEmbedded() {
		return e.path("lake"), nil
	}
	dir, err := p.Engines.Lake.Reveal(os.LookupEnv)
	if err != nil {
		return "", err
	}
	return p.Path(dir), nil
}

// metadataURL is where the metadata of a project lies. It may hold a password (I7).
func (e *Engine) metadataURL(p *project.Project) (string, error) {
	if p.Engines.Metadata.IsEmbedded() {
		return e.path("meta", "tarn.db"), nil
	}
	url, err := p.Engines.Metadata.Reveal(os.LookupEnv)
	if err == nil && p.Engines.Metadata.Scheme() == "" {
		url = p.Path(url)
	}
	return url, err
}
