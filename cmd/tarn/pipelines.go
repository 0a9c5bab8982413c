package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/server"
)

func (a *app) pipelinesCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "pipelines",
		Short:   "List pipelines and how far their deliveries are",
		Example: "  tarn pipelines ls",
	}, a.clientFlags(&cobra.Command{
		Use: "ls", Short: "List pipelines and their deliveries", Args: args(0, 0, ""),
		Example: "  tarn pipelines ls\n  tarn pipelines ls --json",
		RunE:    func(c *cobra.Command, _ []string) error { return a.pipelinesLs(c.Context()) },
	}))
}

func (a *app) pipelinesLs(ctx context.Context) error {
	var doc struct{ Pipelines []server.PipelineDoc }
	if done, err := a.get(ctx, "/v1/pipelines", &doc); done || err != nil {
		return err
	}
	cols := []screen.Column{left("PIPELINE"), left("STREAM"), left("TABLE"), left("STATE"), right("BEHIND"), left("FOR"), right("ROWS"), right("FAILED"), left("LAST COMMIT")}
	var rows [][]string
	for _, p := range doc.Pipelines {
		if len(p.Deliveries) == 0 {
			rows = append(rows, []string{p.Name, p.Stream, "-", "", "", "", "", "", ""})
		}
		for _, d := range p.Deliveries {
			rows = append(rows, []string{p.Name, p.Stream, d.Table, d.State, screen.Count(d.LagRecords), behind(d.LagSeconds), screen.Count(d.Rows), screen.Count(d.Failed), screen.Time(d.LastCommit)})
		}
		if b := p.RawBackup; b != nil {
			rows = append(rows, []string{p.Name, p.Stream, b.Table, b.State, screen.Count(b.LagRecords), "-", screen.Count(b.Records), "-", screen.Time(b.LastObject)})
		}
	}
	if err := a.list(4, cols, rows, "no pipelines"); err != nil {
		return err
	}
	for _, p := range doc.Pipelines {
		if p.Source != nil {
			a.tell("%s ← %s: %s", p.Name, p.Source.Function, sourceText(p.Source))
		}
		if b := p.RawBackup; b != nil && b.LastError != "" {
			a.tell("%s → %s: %s", p.Name, b.Table, b.LastError)
		}
		for _, d := range p.Deliveries {
			for _, text := range []string{d.LastError, d.Warning} {
				if text != "" {
					a.tell("%s → %s: %s", p.Name, d.Table, text)
				}
			}
		}
	}
	return nil
}

// sourceText says in one line what a source function does.
func sourceText(s *server.SourceDoc) string {
	text := s.When + ", " + s.State
	if s.State == "held back" {
		return text + "; " + s.Error
	}
	if s.NextRun != nil {
		text += " for " + screen.Time(s.NextRun)
	}
	text += "; " + screen.Plural(s.Runs, "run") + ", " + screen.Plural(s.Records, "record")
	if s.FailedRuns > 0 {
		text += ", " + screen.Count(s.FailedRuns) + " failed"
	}
	if s.SkippedSlots > 0 {
		text += ", " + screen.Plural(s.SkippedSlots, "slot") + " passed over"
	}
	if r := s.LastRun; r != nil && r.Rejected > 0 {
		text += "; of the last run " + screen.Plural(r.Rejected, "record") + " rejected"
	}
	if s.Error != "" {
		return text + "; " + s.Error
	}
	if r := s.LastRun; r != nil && r.Error != "" {
		text += "; the last run failed: " + r.Error
	}
	return text
}

func behind(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	return screen.Took(time.Duration(seconds * float64(time.Second)))
}
