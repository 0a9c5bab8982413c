package twin

import (
	"reflect"
	"strconv"
	"time"

	"github.com/tarn-data/tarn"
)

// Unknown says what becomes of metrics that the schema does not name.
type Unknown string

// The policies. The zero value accepts.
const (
	Accept Unknown = "accept"
	Tag    Unknown = "tag" // accepted, and marked as unknown in every answer
	Reject Unknown = "reject"
)

// Spec is what a project says of a twin. It is not changed after Store.Configure has it.
type Spec struct {
	Name        string
	ExpireAfter time.Duration // 0 never
	Unknown     Unknown
	History     string                           // table of the lake, or empty
	Types       map[string]map[string]MetricSpec // by type of component and metric; nil allows everything
}

// MetricSpec is what values of a metric look like.
type MetricSpec struct {
	Kind Kind
	Unit string // empty when it is not declared
}

// declares reports whether the schema names a metric, or allows everything.
func (s *Spec) declares(kind, metric string) bool {
	if s.Types == nil {
		return true
	}
	_, ok := s.Types[kind][metric]
	return ok
}

// unit is the declared unit of a metric of a type of component, or of all types that have it when the type is
// not known; empty when none is declared, or several are.
func (s *Spec) unit(kind, metric string) string {
	if kind != "" {
		return s.Types[kind][metric].Unit
	}
	unit := ""
	for _, metrics := range s.Types {
		m, declared := metrics[metric]
		if !declared {
			continue
		}
		if m.Unit == "" || unit != "" && unit != m.Unit {
			return ""
		}
		unit = m.Unit
	}
	return unit
}

// view is what readers see of stored values, by the schema and the clock of now. What the schema does not name any
// more is treated as if it came now: shown, marked as unknown, or hidden. It stays in the database, and is shown
// again when the schema allows it again.
type view struct {
	spec    *Spec
	horizon int64
}

func (t *Twin) view() view { return view{t.spec.Load(), t.horizon()} }

// shows reports whether readers see an entry.
func (v view) shows(e *entry) bool {
	return e.visible(v.horizon) && (v.spec.Unknown != Reject || v.spec.declares(e.labels.Value().kind, e.metric.Value()))
}

// show returns what readers get of an entry; false for nothing.
func (v view) show(component string, e *entry) (Metric, bool) {
	if !v.shows(e) {
		return Metric{}, false
	}
	m := e.show(component)
	m.Unknown = v.spec.Unknown == Tag && !v.spec.declares(m.Type, m.Metric)
	return m, true
}

// same reports whether readers see the same values with both.
func (s *Spec) same(o *Spec) bool {
	return s.Unknown == o.Unknown && reflect.DeepEqual(s.Types, o.Types)
}

// admit applies the schema to an update: it fills in the unit, and reports whether the metric is
// unknown. Errors: CodeSchema.
//
// What is decided depends on the update alone, so that the order of updates does not matter. A value
// of another kind or unit than declared is refused whatever the policy: it would be taken for what it
// is not.
func (s *Spec) admit(u *Update) (unknown bool, err error) {
	if s.Types == nil || u.Value.kind == Removed {
		return false, nil
	}
	m, declared := s.Types[u.Type][u.Metric]
	if !declared {
		if s.Unknown == Reject {
			return false, &tarn.Error{Code: tarn.CodeSchema, Detail: "components of type " + strconv.Quote(clip(u.Type)) + " have no metric " + strconv.Quote(clip(u.Metric)),
				Hint: "declare it under types: in twins/" + s.Name + ".yaml, or write unknown: tag"}
		}
		return s.Unknown == Tag, nil
	}
	if u.Value.kind != m.Kind && m.Kind != JSON {
		return false, &tarn.Error{Code: tarn.CodeSchema, Detail: "the metric " + u.Metric + " is a " + m.Kind.String() + ", not a " + u.Value.kind.String(),
			Hint: "mend what sends it, or the type of the metric in twins/" + s.Name + ".yaml"}
	}
	switch {
	case u.Unit == "":
		u.Unit = m.Unit
	case m.Unit != "" && u.Unit != m.Unit:
		return false, &tarn.Error{Code: tarn.CodeSchema, Detail: "the metric " + u.Metric + " is in " + m.Unit + ", not in " + clip(u.Unit),
			Hint: "convert it before it is sent, or mend the unit of the metric in twins/" + s.Name + ".yaml"}
	}
	return false, nil
}
