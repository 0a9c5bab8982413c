package project

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

const (
	extractsDir = "extracts"
	maxExtracts = 1000
)

// Extract is SQL that runs over a stream for ever.
type Extract struct {
	Name        string
	File        string // relative to the project
	Owner       string
	Description string
	From        string // a stream
	SQL         string
	To          ExtractTarget
	Window      *Window       // nil for SQL that works record by record
	Refresh     time.Duration // how often joined tables are looked at for a newer snapshot
}

// ExtractTarget is where the rows of an extract go: exactly one of Stream, Twin and Table is set.
type ExtractTarget struct {
	Stream      string
	Own         *Stream // how the stream is made, where no pipeline has it
	Twin        string
	Table       string
	PartitionBy []tarn.PartitionField
}

// Late says what becomes of records that come later than a window waits for.
type Late string

// The ways with late records.
const (
	LateDrop   Late = "drop"   // counted and left out
	LateFailed Late = "failed" // a failed record
	LateUpdate Late = "update" // the window is delivered again
)

// Window is windows of event time: exactly one of Size and Gap is set.
type Window struct {
	Size      time.Duration // of tumbling and hopping windows
	Every     time.Duration // how far apart they begin; Size for tumbling ones
	Gap       time.Duration // of sessions
	Time      string        // the column that holds the time of a record
	Key       []string      // of sessions
	Lateness  time.Duration
	Late      Late
	UpdateFor time.Duration // with LateUpdate
	IdleAfter time.Duration // 0 never
}

// DeliveryName is the name that the progress of an extract is kept under: its table, or else
// extract.NAME.
func (x *Extract) DeliveryName() string { return cmp.Or(x.To.Table, "extract."+x.Name) }

// Extract returns the extract of that name, or nil.
func (p *Project) Extract(name string) *Extract {
	return find(p.Extracts, func(e *Extract) bool { return e.Name == name })
}

// ExtractRules is what the SQL of an extract must keep to.
type ExtractRules struct {
	Windowed bool
	Key      []string // of sessions
}

// extractFile is a decoded file under extracts/ with its statement.
type extractFile struct {
	yamlFile
	model v1.Extract
	sql   string
}

// extract reads and checks one extract by itself.
func (l *loader) extract(name string) (extractFile, bool) {
	var f extractFile
	var ok bool
	if f.yamlFile, ok = l.decode(name, &f.model, "", "write extract: NAME"); !ok {
		return f, false
	}
	l.extractTarget(f)
	rules := ExtractRules{Windowed: f.model.Window != nil}
	if w := f.model.Window; w != nil {
		l.window(f.yamlFile, w)
		rules.Key = columnNames(w.Key)
	}
	if f.model.SQL != "" {
		kind := fmt.Sprintf("extract %v", rules)
		f.sql = l.statement(f.yamlFile, "sql", f.model.SQL, kind, func(_, text string) error {
			if l.opts.CheckExtract == nil {
				return nil
			}
			return l.opts.CheckExtract(text, rules)
		})
	}
	return f, true
}

func columnNames(names []v1.ColumnName) []string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return out
}

// extractTarget checks that the rows go to one place, and that only its settings stand there.
func (l *loader) extractTarget(f extractFile) {
	places := l.stated(f.yamlFile, "to", "stream", "twin", "table")
	switch {
	case len(places) == 0:
		if f.doc.Has("to") && !l.hasFaultUnder(f.name, "to") {
			l.fault(f.yamlFile, "to", CodeMissing, "the extract goes nowhere", "write stream: NAME, twin: NAME or table: "+v1.Zone+".NAME")
		}
		return
	case len(places) > 1:
		l.fault(f.yamlFile, "to."+places[1], tarn.CodeInvalid, "an extract goes to one place, and this one has "+places[0], "write an extract for each")
		return
	}
	own := map[string][]string{"stream": {"partition_by"}, "twin": {"partition_by", "shards", "retention", "partition_key"}, "table": {"shards", "retention", "partition_key"}}
	for _, key := range l.stated(f.yamlFile, "to", own[places[0]]...) {
		l.fault(f.yamlFile, "to."+key, tarn.CodeInvalid, key+" is not for a "+places[0], "take it away")
	}
	l.partition(f.yamlFile, "to.partition_by", f.model.To.PartitionBy, nil)
}

// window checks that windows are of one kind, and that what belongs to one kind stands with it.
func (l *loader) window(f yamlFile, w *v1.Window) {
	kinds := l.stated(f, "window", "tumbling", "hopping", "session")
	switch {
	case len(kinds) == 0:
		l.fault(f, "window", CodeMissing, "it is not said what windows there are", "write tumbling: 1m, hopping: {size: 10m, every: 1m} or session: {gap: 5m}")
	case len(kinds) > 1:
		l.fault(f, "window."+kinds[1], tarn.CodeInvalid, "the windows are "+kinds[0]+" already", "write an extract for each")
	case kinds[0] != "session" && f.doc.Has("window.key"):
		l.fault(f, "window.key", tarn.CodeInvalid, "only sessions have a key of their own", "group by it in the SQL, and take it away here")
	}
	if h := w.Hopping; h != nil && h.Every > 0 && h.Size > 0 {
		switch {
		case h.Every > h.Size:
			l.fault(f, "window.hopping.every", tarn.CodeInvalid, fmt.Sprintf("windows of %s every %s leave records out", h.Size, h.Every), "write an every that is not longer than the size")
		case h.Size/h.Every > maxHops:
			l.fault(f, "window.hopping.every", tarn.CodeTooLarge, fmt.Sprintf("each record would be in %d windows", h.Size/h.Every), fmt.Sprintf("choose at most %d", maxHops))
		}
	}
	if w.Session != nil && w.Late == string(LateUpdate) {
		l.fault(f, "window.late", tarn.CodeInvalid, "a late record can join two delivered sessions into one, and the rows of the one that is gone cannot be taken back: a revision replaces the rows of a window that stays",
			"write late: failed and a lateness that few records exceed, and tarn failed ls shows those")
	}
	if f.doc.Has("window.update_for") && w.Late != string(LateUpdate) {
		l.fault(f, "window.update_for", tarn.CodeInvalid, "it is for late: update", "take it away")
	}
}

// maxHops bounds in how many windows a record is.
const maxHops = 1000

// checkExtracts reports what cannot be said of one extract alone.
func (l *loader) checkExtracts(files []extractFile, pipelines []pipelineFile, crawlers []crawlerFile, twins []twinFile) {
	streams, opaque, tables, names := map[string]string{}, map[string]bool{}, map[string]string{}, map[string]string{}
	for _, p := range pipelines {
		stream := string(cmp.Or(p.model.Stream.Name, p.model.Pipeline))
		streams[stream], opaque[stream] = p.name, p.model.Records == string(RecordsOpaque)
		for i, d := range p.model.Deliver {
			tables[deliveryName(d)] = fmt.Sprintf("%s:%d", p.name, p.doc.Fault(fmt.Sprintf("deliver[%d]", i), "", "", "").Line)
		}
	}
	for _, c := range crawlers {
		if c.model.Table != "" {
			tables[c.model.Zone+"."+string(c.model.Table)] = c.name
		}
	}
	made := map[string]extractFile{}
	for _, f := range files {
		if s := string(f.model.To.Stream); s != "" {
			l.ownStream(f, s, streams, made, pipelines)
		}
	}
	for _, f := range files {
		x := f.model
		l.claim(f.yamlFile, names, "extract", string(x.Extract), "extract", "give each extract its own name")
		l.claim(f.yamlFile, tables, "table", string(x.To.Table), "to.table", "deliver to each table from one place only")
		from := string(x.From)
		if _, own := made[from]; from != "" && streams[from] == "" && !own {
			l.fault(f.yamlFile, "from", tarn.CodeNotFound, "there is no stream "+from, "name the stream of a pipeline, or one that an extract writes")
		}
		if to := string(x.To.Stream); to != "" && opaque[to] {
			l.fault(f.yamlFile, "to.stream", tarn.CodeInvalid, "the records of the stream "+to+" are opaque, and rows are JSON objects", "choose a stream of JSON records")
		}
		if tw := x.To.Twin; tw != "" && !slices.ContainsFunc(twins, func(t twinFile) bool { return t.model.Twin == tw }) {
			l.fault(f.yamlFile, "to.twin", tarn.CodeNotFound, "there is no twin "+string(tw), "declare it in twins/"+string(tw)+".yaml")
		}
	}
	l.extractCycles(files)
}

// ownStream notes the stream that an extract makes, and what contradicts it.
func (l *loader) ownStream(f extractFile, name string, streams map[string]string, made map[string]extractFile, pipelines []pipelineFile) {
	settings := l.stated(f.yamlFile, "to", "shards", "retention", "partition_key")
	if where := streams[name]; where != "" {
		for _, key := range settings {
			l.fault(f.yamlFile, "to."+key, tarn.CodeInvalid, "the stream "+name+" is that of "+where, "take it away here")
		}
		return
	}
	if slices.ContainsFunc(pipelines, func(p pipelineFile) bool { return string(p.model.Pipeline) == name }) {
		l.fault(f.yamlFile, "to.stream", tarn.CodeConflict, "there is a pipeline "+name+", whose stream has another name", "choose another name for the stream")
	}
	other, ok := made[name]
	if !ok {
		made[name] = f
		return
	}
	a, b := f.model.To, other.model.To
	if a.Shards != b.Shards || a.Retention != b.Retention || a.PartitionKey != b.PartitionKey {
		l.fault(f.yamlFile, "to.stream", tarn.CodeConflict, fmt.Sprintf("%s makes the stream %s with other settings", other.name, name), "write the same shards, retention and partition_key")
	}
}

// claim reports a name that stands in the project already; seen says where.
func (l *loader) claim(f yamlFile, seen map[string]string, kind, name, path, hint string) {
	if name == "" {
		return // absent, or it has a fault already
	}
	if other, taken := seen[name]; taken {
		l.fault(f, path, tarn.CodeConflict, fmt.Sprintf("the %s %s stands in %s already", kind, name, other), hint)
		return
	}
	seen[name] = fmt.Sprintf("%s:%d", f.name, f.doc.Fault(path, "", "", "").Line)
}

// extractCycles reports extracts whose rows come back to them: they would go round for ever.
func (l *loader) extractCycles(files []extractFile) {
	next := map[string][]string{} // stream → streams that extracts write from it
	for _, f := range files {
		if to := string(f.model.To.Stream); to != "" {
			next[string(f.model.From)] = append(next[string(f.model.From)], to)
		}
	}
	for _, f := range files {
		from, to := string(f.model.From), string(f.model.To.Stream)
		if to == "" {
			continue
		}
		if way := route(next, to, from, nil); way != nil {
			l.fault(f.yamlFile, "to.stream", tarn.CodeConflict, "its rows come back to it: "+strings.Join(append([]string{from}, way...), " → "), "write to another stream")
		}
	}
}

// route returns the streams on a way from one to another, nil when there is none.
func route(next map[string][]string, from, to string, seen []string) []string {
	if from == to {
		return append(seen, to)
	}
	if slices.Contains(seen, from) {
		return nil
	}
	seen = append(slices.Clone(seen), from)
	for _, n := range next[from] {
		if way := route(next, n, to, seen); way != nil {
			return way
		}
	}
	return nil
}
