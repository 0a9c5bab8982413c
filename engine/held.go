package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
)

// The states of what does not run as the project says.
const (
	stateHeld    = "held back" // it waits for what is missing, its records in the stream, and everything else runs
	stateBefore  = "as before" // what ran before goes on
	stateStopped = "stopped"   // it does not run
)

// shortfall is a part of a project that does not run as the project says.
type shortfall struct {
	kind, name, state string
	err               error // why, and how to mend it
}

// covers reports whether a change of p was not applied because of s: with a pipeline that is stopped, its
// stream and its deliveries are.
func (s shortfall) covers(p *project.Project, c project.Change) bool {
	if s.kind == c.Kind && s.name == c.Name {
		return true
	}
	l := p.Pipeline(s.name)
	if s.kind != "pipeline" || s.state != stateStopped || l == nil {
		return false
	}
	return c.Kind == "stream" && c.Name == l.Stream.Name ||
		(c.Kind == "table" || c.Kind == "delivery") && slices.ContainsFunc(l.Deliveries, func(d project.Delivery) bool { return c.Name == d.Table || c.Name == d.Name })
}

// stopped joins the errors of what does not run although nothing is known to be missing.
func stopped(short []shortfall) error {
	var errs []error
	for _, s := range short {
		if s.state == stateStopped {
			errs = append(errs, fmt.Errorf("%s %s does not start: %w", s.kind, s.name, s.err))
		}
	}
	return errors.Join(errs...)
}

// heldBy returns why something that calls these functions is held back: none of them may be without a
// version that runs. nil when it is not.
func (e *Engine) heldBy(functions ...string) error {
	var why []string
	for _, name := range functions {
		if h := e.functions.get(name); h != nil && h.host.Pool() == nil {
			why = append(why, fmt.Sprintf("the function %s does not run: %s", name, reason(h.fault)))
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &tarn.Error{Code: tarn.CodeUnavailable, Detail: strings.Join(why, "; ")}
}

// hold decides whether the deliveries of a pipeline, or the function of its source, are held back. What the
// source has brought before is delivered without it.
func (e *Engine) hold(p *pipe) {
	var calls []string
	for _, t := range p.spec.Transforms {
		if t.Kind() == project.StepFunction {
			calls = append(calls, t.Function)
		}
	}
	p.held, p.sourceHeld = e.heldBy(calls...), nil
	if src := p.spec.Source.Function; src != nil {
		p.sourceHeld = e.heldBy(src.Function)
	}
}

// waits reports whether a part of a pipeline is held back.
func (p *pipe) waits() bool { return p.held != nil || p.sourceHeld != nil }

// refuse returns the error of work on a pipeline that is held back, nil when it is not.
func (p *pipe) refuse() error {
	if p.held == nil {
		return nil
	}
	return &tarn.Error{Code: tarn.CodeConflict, Detail: "the pipeline " + p.spec.Name + " is held back: " + p.held.Error()}
}

// shortfalls lists the pipelines that are held back.
func (r *running) shortfalls() (short []shortfall) {
	for _, p := range r.pipes {
		if p.held != nil {
			short = append(short, shortfall{"pipeline", p.spec.Name, stateHeld, fmt.Errorf("its records wait in the stream %s: %w", p.stream.Name(), p.held)})
		} else if p.sourceHeld != nil {
			short = append(short, shortfall{"pipeline", p.spec.Name, stateHeld, fmt.Errorf("its source brings no records: %w", p.sourceHeld)})
		}
	}
	return short
}

// mended turns what a plan leaves as it is into a change, where it did not run as the project says before
// and does now.
func mended(plan project.Changes, before, now []shortfall) {
	lacks := func(short []shortfall, c project.Change) bool {
		return slices.ContainsFunc(short, func(s shortfall) bool { return s.kind == c.Kind && s.name == c.Name })
	}
	for i, c := range plan {
		if c.Action == project.Leave && lacks(before, c) && !lacks(now, c) {
			plan[i].Action, plan[i].Note = project.Update, "it runs as the project says now"
		}
	}
}

// sayShort logs what does not run as the project says.
func (e *Engine) sayShort(short []shortfall) {
	for _, s := range short {
		switch s.state {
		case stateHeld:
			e.log.Warn("held back; everything else runs", "kind", s.kind, "name", s.name, "why", s.err)
		case stateBefore:
			e.log.Error("not applied; what ran before goes on", "kind", s.kind, "name", s.name, "why", s.err)
		default:
			e.log.Error("not applied; it does not run", "kind", s.kind, "name", s.name, "why", s.err)
		}
	}
}

// reloadDoc says what of a plan was applied and what was not.
func reloadDoc(p *project.Project, plan project.Changes, short []shortfall) server.ReloadDoc {
	d := server.ReloadDoc{NotApplied: []server.ShortfallDoc{}}
	for _, s := range short {
		d.NotApplied = append(d.NotApplied, server.ShortfallDoc{Kind: s.kind, Name: s.name, State: s.state, Detail: reason(s.err)})
	}
	for _, c := range plan {
		if c.Kind == kindSettings && c.Action == project.Update {
			c.Fields = slices.DeleteFunc(slices.Clone(c.Fields), func(f project.FieldChange) bool { return waitsForStart(short, f.Path) })
			if len(c.Fields) == 0 {
				continue
			}
		} else if slices.ContainsFunc(short, func(s shortfall) bool { return s.covers(p, c) }) {
			continue
		}
		detail := c.Note
		for _, f := range c.Fields {
			if detail != "" {
				detail += "; "
			}
			detail += fmt.Sprintf("%s: %s → %s", f.Path, f.From, f.To)
		}
		d.Changes = append(d.Changes, server.ChangeDoc{Action: string(c.Action), Kind: c.Kind, Name: c.Name, Detail: detail})
	}
	return d
}
