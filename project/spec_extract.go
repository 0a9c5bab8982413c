package project

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/tarn-data/tarn/project/v1"
)

// Defaults of the streams that extracts make, and of Extract.Refresh.
const (
	ownShards    = 1
	ownRetention = 168 * time.Hour
	refreshEvery = time.Second
)

// extractFromModel returns the spec of an extract file with its statement.
func extractFromModel(file string, m v1.Extract, sql string) Extract {
	x := Extract{Name: string(m.Extract), File: file, Owner: m.Owner, Description: m.Description, From: string(m.From), SQL: sql,
		To: ExtractTarget{Stream: string(m.To.Stream), Twin: string(m.To.Twin), Table: string(m.To.Table)}, Refresh: cmp.Or(time.Duration(m.Refresh), refreshEvery)}
	for _, f := range m.To.PartitionBy {
		x.To.PartitionBy = append(x.To.PartitionBy, f.Field())
	}
	if x.To.Stream != "" {
		x.To.Own = &Stream{Name: x.To.Stream, Shards: cmp.Or(m.To.Shards, ownShards), Retention: cmp.Or(time.Duration(m.To.Retention), ownRetention), PartitionKey: string(m.To.PartitionKey)}
	}
	if w := m.Window; w != nil {
		x.Window = windowFromModel(*w)
	}
	return x
}

func windowFromModel(m v1.Window) *Window {
	w := &Window{Size: time.Duration(m.Tumbling), Every: time.Duration(m.Tumbling), Time: string(m.Time), Lateness: time.Duration(m.Lateness), Late: Late(m.Late), IdleAfter: time.Duration(m.IdleAfter)}
	if m.Hopping != nil {
		w.Size, w.Every = time.Duration(m.Hopping.Size), time.Duration(m.Hopping.Every)
	}
	if m.Session != nil {
		w.Gap = time.Duration(m.Session.Gap)
	}
	w.Key = columnNames(m.Key)
	if w.Late == LateUpdate {
		w.UpdateFor = time.Duration(m.UpdateFor)
	}
	return w
}

// toModel is the inverse of extractFromModel; the statement stands in it whole.
func (x *Extract) toModel() v1.Extract {
	m := v1.Extract{Extract: v1.Name(x.Name), Owner: x.Owner, Description: x.Description, From: v1.Name(x.From), SQL: v1.SQL(x.SQL),
		To: v1.ExtractTarget{Stream: v1.Name(x.To.Stream), Twin: v1.Name(x.To.Twin), Table: v1.TableName(x.To.Table)}, Refresh: v1.Duration(x.Refresh)}
	for _, f := range x.To.PartitionBy {
		m.To.PartitionBy = append(m.To.PartitionBy, v1.PartitionField(f.String()))
	}
	if o := x.To.Own; o != nil {
		m.To.Shards, m.To.Retention, m.To.PartitionKey = o.Shards, v1.Duration(o.Retention), v1.KeyPath(o.PartitionKey)
	}
	if x.Window != nil {
		m.Window = x.Window.toModel()
	}
	return m
}

func (w *Window) toModel() *v1.Window {
	m := &v1.Window{Time: v1.ColumnName(w.Time), Lateness: v1.Duration(w.Lateness), Late: string(w.Late), UpdateFor: v1.Duration(w.UpdateFor), IdleAfter: v1.Duration(w.IdleAfter)}
	switch {
	case w.Gap > 0:
		m.Session = &v1.Session{Gap: v1.Duration(w.Gap)}
	case w.Every < w.Size:
		m.Hopping = &v1.Hopping{Size: v1.Duration(w.Size), Every: v1.Duration(w.Every)}
	default:
		m.Tumbling = v1.Duration(w.Size)
	}
	for _, k := range w.Key {
		m.Key = append(m.Key, v1.ColumnName(k))
	}
	return m
}

// extractDocument is the JSON form of an extract; see document.
type extractDocument struct {
	File string `json:"file"`
	v1.Extract
}

// settleStreams takes the settings of own streams away where a pipeline has the stream.
func (p *Project) settleStreams() {
	for i := range p.Extracts {
		to := &p.Extracts[i].To
		if to.Own != nil && slices.ContainsFunc(p.Pipelines, func(l Pipeline) bool { return l.Stream.Name == to.Stream }) {
			to.Own = nil
		}
	}
}

func extractProperties(x *Extract) []property {
	props := []property{{"from", x.From}, {"sql", x.SQL}}
	props = append(props, optional("owner", x.Owner)...)
	props = append(props, optional("description", x.Description)...)
	props = append(props, optional("to.stream", x.To.Stream)...)
	props = append(props, optional("to.twin", x.To.Twin)...)
	props = append(props, optional("to.table", x.To.Table)...)
	if o := x.To.Own; o != nil {
		props = append(props, property{"to.shards", fmt.Sprint(o.Shards)}, property{"to.retention", v1.Duration(o.Retention).String()})
		props = append(props, optional("to.partition_key", o.PartitionKey)...)
	}
	var fields []string
	for _, f := range x.To.PartitionBy {
		fields = append(fields, f.String())
	}
	props = append(props, optional("to.partition_by", strings.Join(fields, ", "))...)
	if x.Window != nil {
		props = append(props, windowProperties(x.Window)...)
	}
	return append(props, property{"refresh", v1.Duration(x.Refresh).String()})
}

func windowProperties(w *Window) []property {
	span := "tumbling " + v1.Duration(w.Size).String()
	switch {
	case w.Gap > 0:
		span = "session " + v1.Duration(w.Gap).String()
	case w.Every < w.Size:
		span = "hopping " + v1.Duration(w.Size).String() + " every " + v1.Duration(w.Every).String()
	}
	props := []property{{"window", span}, {"window.time", w.Time}, {"window.lateness", v1.Duration(w.Lateness).String()}, {"window.late", string(w.Late)}}
	props = append(props, optional("window.key", strings.Join(w.Key, ", "))...)
	if w.UpdateFor > 0 {
		props = append(props, property{"window.update_for", v1.Duration(w.UpdateFor).String()})
	}
	if w.IdleAfter > 0 {
		props = append(props, property{"window.idle_after", v1.Duration(w.IdleAfter).String()})
	}
	return props
}

// OwnStreams returns the streams that extracts make, because no pipeline has them, in order of name.
func (p *Project) OwnStreams() []Stream {
	var out []Stream
	for i := range p.Extracts {
		if o := p.Extracts[i].To.Own; o != nil && !slices.ContainsFunc(out, func(s Stream) bool { return s.Name == o.Name }) {
			out = append(out, *o)
		}
	}
	slices.SortFunc(out, func(a, b Stream) int { return strings.Compare(a.Name, b.Name) })
	return out
}
