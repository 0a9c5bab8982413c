package engine

import (
	"context"
	"strings"

	"github.com/tarn-data/tarn/project"
	v1 "github.com/tarn-data/tarn/project/v1"
	"github.com/tarn-data/tarn/server"
)

// Extracts describes the extracts and how far they are, in order of name.
func (e *Engine) Extracts(ctx context.Context) ([]server.ExtractDoc, error) {
	var docs []server.ExtractDoc
	r := e.running.Load()
	if r.project == nil {
		return nil, nil
	}
	for i := range r.project.Extracts {
		for _, x := range r.extracts {
			if x.spec.Name != r.project.Extracts[i].Name {
				continue
			}
			doc, err := e.describeExtract(ctx, x)
			if err != nil {
				return nil, err
			}
			docs = append(docs, doc)
		}
	}
	return docs, nil
}

// describeExtract describes an extract: records are those of its first stage, rows those of its last.
func (e *Engine) describeExtract(ctx context.Context, x *extraction) (server.ExtractDoc, error) {
	s := &x.spec
	doc := server.ExtractDoc{Name: s.Name, Owner: s.Owner, Description: s.Description, From: s.From, To: targetText(s.To), State: "running"}
	if s.Window != nil {
		doc.Window = windowText(s.Window)
	}
	var warnings []string
	for i, st := range x.stages {
		d, err := e.describeDelivery(ctx, st.pipe, st.runningDelivery)
		if err != nil {
			return doc, err
		}
		if i == 0 {
			doc.Records, doc.LastCommit = d.Records, d.LastCommit
		}
		doc.Rows = d.Rows
		doc.Failed += d.Failed
		doc.LagRecords += d.LagRecords
		doc.LagSeconds = max(doc.LagSeconds, d.LagSeconds)
		if d.LastError != "" {
			doc.State, doc.LastError = "retrying", d.LastError
		}
		if d.Warning != "" {
			warnings = append(warnings, d.Warning)
		}
		rows, err := e.store.Progress(ctx, st.name())
		if err != nil {
			return doc, err
		}
		for _, r := range rows {
			doc.Dropped += r.Dropped
		}
	}
	if x.warn != nil && x.warn() != "" {
		warnings = append(warnings, x.warn())
	}
	doc.Warning = strings.Join(warnings, "; ")
	return doc, nil
}

func targetText(t project.ExtractTarget) string {
	switch {
	case t.Stream != "":
		return "stream " + t.Stream
	case t.Twin != "":
		return "twin " + t.Twin
	}
	return "table " + t.Table
}

func windowText(w *project.Window) string {
	switch {
	case w.Gap > 0:
		return "session " + v1.Duration(w.Gap).String()
	case w.Every < w.Size:
		return "hopping " + v1.Duration(w.Size).String() + " every " + v1.Duration(w.Every).String()
	}
	return "tumbling " + v1.Duration(w.Size).String()
}
