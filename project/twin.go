package project

import (
	"fmt"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

const (
	twinsDir = "twins"
	maxTwins = 100
)

// Twin is the newest value of every metric of every component.
type Twin struct {
	Name        string
	File        string // relative to the project
	Owner       string
	Description string
	ExpireAfter time.Duration // 0 never
	History     string        // a table, or empty
	Unknown     string        // accept, tag or reject
	Types       []TwinType
}

// TwinType is the metrics that components of one type have.
type TwinType struct {
	Name    string
	Metrics []TwinMetric
}

// TwinMetric is one metric that is allowed.
type TwinMetric struct {
	Name string
	Kind string // number, string, boolean or json
	Unit string // or empty
}

// Twin returns the twin of that name, or nil.
func (p *Project) Twin(name string) *Twin {
	return find(p.Twins, func(t *Twin) bool { return t.Name == name })
}

// twinFile is a decoded file under twins/.
type twinFile struct {
	yamlFile
	model v1.Twin
}

// twin reads one twin.
func (l *loader) twin(name string) (f twinFile, ok bool) {
	f.yamlFile, ok = l.decode(name, &f.model, "", "write twin: NAME")
	return f, ok
}

// checkTwins reports what cannot be said of one key alone.
func (l *loader) checkTwins(files []twinFile) {
	named := map[string]string{}
	for _, f := range files {
		if name := string(f.model.Twin); name != "" { // else it has a fault already
			if other, taken := named[name]; taken {
				l.fault(f.yamlFile, "twin", tarn.CodeConflict, fmt.Sprintf("the twin %s stands in %s already", name, other), "give each twin its own name")
			} else {
				named[name] = fmt.Sprintf("%s:%d", f.name, f.doc.Fault("twin", "", "", "").Line)
			}
		}
		if f.doc.Has("unknown") && !f.doc.Has("types") {
			l.fault(f.yamlFile, "unknown", tarn.CodeInvalid, "without types every metric is known", "declare types:, or take unknown away")
		}
		l.checkTypes(f)
	}
}

// checkTypes reports types and metrics that stand twice.
func (l *loader) checkTypes(f twinFile) {
	types := map[v1.Label]bool{}
	for i, t := range f.model.Types {
		path := fmt.Sprintf("types[%d]", i)
		if t.Type != "" && types[t.Type] {
			l.fault(f.yamlFile, path+".type", tarn.CodeConflict, fmt.Sprintf("the type %s stands here twice", t.Type), "name all its metrics in one place")
		}
		types[t.Type] = true
		metrics := map[v1.Label]bool{}
		for j, m := range t.Metrics {
			if m.Metric != "" && metrics[m.Metric] {
				l.fault(f.yamlFile, fmt.Sprintf("%s.metrics[%d].metric", path, j), tarn.CodeConflict, fmt.Sprintf("the metric %s stands here twice", m.Metric), "keep one of them")
			}
			metrics[m.Metric] = true
		}
	}
}

func twinFromModel(file string, m v1.Twin) Twin {
	t := Twin{Name: string(m.Twin), File: file, Owner: m.Owner, Description: m.Description, ExpireAfter: time.Duration(m.ExpireAfter),
		History: string(m.History), Unknown: m.Unknown}
	for _, mt := range m.Types {
		typ := TwinType{Name: string(mt.Type)}
		for _, mm := range mt.Metrics {
			typ.Metrics = append(typ.Metrics, TwinMetric{string(mm.Metric), mm.Value, string(mm.Unit)})
		}
		t.Types = append(t.Types, typ)
	}
	return t
}

// toModel is the inverse of twinFromModel.
func (t *Twin) toModel() v1.Twin {
	m := v1.Twin{Twin: v1.Name(t.Name), Owner: t.Owner, Description: t.Description, ExpireAfter: v1.Duration(t.ExpireAfter),
		History: v1.TableName(t.History), Unknown: t.Unknown}
	for _, typ := range t.Types {
		mt := v1.TwinType{Type: v1.Label(typ.Name)}
		for _, tm := range typ.Metrics {
			mt.Metrics = append(mt.Metrics, v1.TwinMetric{Metric: v1.Label(tm.Name), Value: tm.Kind, Unit: v1.Label(tm.Unit)})
		}
		m.Types = append(m.Types, mt)
	}
	return m
}

// twinDocument is the JSON form of a twin; see document.
type twinDocument struct {
	File string `json:"file"`
	v1.Twin
}

func twinProperties(t *Twin) []property {
	props := optional("owner", t.Owner)
	props = append(props, optional("description", t.Description)...)
	if t.ExpireAfter > 0 {
		props = append(props, property{"expire_after", v1.Duration(t.ExpireAfter).String()})
	}
	props = append(props, optional("history", t.History)...)
	props = append(props, property{"unknown", t.Unknown})
	for _, typ := range t.Types {
		for _, m := range typ.Metrics {
			props = append(props, property{"types." + typ.Name + "." + m.Name, strings.TrimSpace(m.Kind + " " + m.Unit)})
		}
	}
	return props
}
