package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
	"github.com/tarn-data/tarn/twin"
)

const (
	twinPath      = "/v1/twins/{twin}"
	componentPath = twinPath + "/components/{id}"
	metricPath    = componentPath + "/metrics/{metric}"
)

// maxReadKeys is how many keys one batch read may name, and maxReadBody the bytes that they may take.
const (
	maxReadKeys = 1000
	maxReadBody = 4 << 20
)

// registerTwins mounts the twins. Reading one metric, one component and the changes stay outside huma:
// they are asked for many thousand times a second, or for hours.
func (s *Server) registerTwins(api huma.API) {
	register(s, api, "GET", "/v1/twins", "list-twins", "twins", "The twins of the project", s.listTwins)
	register(s, api, "GET", twinPath+"/components", "list-components", "twins", "Components and their newest values, filtered, page by page", s.listComponents)
	register(s, api, "GET", metricPath+"/history", "get-metric-history", "twins", "The past of one metric, or its down-sampled numbers", s.metricHistory)
	register(s, api, "POST", twinPath+"/read", "read-metrics", "twins", "The newest values of many metrics", s.readMetrics,
		func(o *huma.Operation) { o.MaxBodyBytes = maxReadBody })
	register(s, api, "PUT", metricPath, "put-metric", "twins", "Write a value, if it is newer than what the twin has", s.putMetric)
	register(s, api, "DELETE", metricPath, "delete-metric", "twins", "Remove a metric, until a newer value comes", s.deleteMetric)
	s.mux.HandleFunc("GET "+componentPath, s.getComponent)
	s.mux.HandleFunc("GET "+metricPath, s.getMetric)
	s.mux.HandleFunc("GET "+twinPath+"/changes", s.changes)
	s.describeTwins(api)
	exampleTwins(api)
}

// describeTwins documents what registerTwins mounts outside huma.
func (s *Server) describeTwins(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	text := &huma.Schema{Type: "string"}
	path := func(name, doc, example string) *huma.Param {
		return &huma.Param{Name: name, In: "path", Required: true, Schema: text, Description: doc, Example: example}
	}
	twinParam, id, metric := path("twin", "The twin", "fleet"), path("id", "The component, percent-encoded", "wagon-7"), path("metric", "The metric, percent-encoded", "speed")
	at := &huma.Param{Name: "at", In: "query", Schema: &huma.Schema{Type: "string", Format: "date-time"}, Description: "As of then, from the history of the twin", Example: "2026-11-20T03:00:00Z"}
	match := &huma.Param{Name: "If-None-Match", In: "header", Schema: text, Description: "The ETag of the answer before: 304 when nothing has changed. Ages do not count"}
	answers := func(doc any, example any) map[string]*huma.Response {
		return map[string]*huma.Response{
			"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: huma.SchemaFromType(schemas, reflect.TypeOf(doc)), Example: example}},
				Headers: map[string]*huma.Param{"ETag": {Schema: text}}},
			"304": {Description: "Nothing has changed"}, "404": problemResponse(api, "There is no such twin, component or metric"), "default": problemResponse(api, "Error"),
		}
	}
	api.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodGet, Path: metricPath, OperationID: "get-metric", Tags: []string{"twins"}, Summary: "The newest value of one metric",
		Parameters: []*huma.Param{twinParam, id, metric, at, match}, Responses: answers(MetricDoc{}, exampleMetric())})
	api.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodGet, Path: componentPath, OperationID: "get-component", Tags: []string{"twins"}, Summary: "One component with all its metrics",
		Parameters: []*huma.Param{twinParam, id, at, match},
		Responses:  answers(ComponentDoc{}, ComponentDoc{Component: "wagon-7", Type: "wagon", At: exampleMetric().At, AgeSeconds: 0.25, Metrics: []MetricDoc{exampleMetric()}})})
	query := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Schema: text, Description: doc}
	}
	api.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodGet, Path: twinPath + "/changes", OperationID: "watch-twin", Tags: []string{"twins"},
		Summary: "Changes as they happen: server-sent events, or a WebSocket when the request asks to upgrade",
		Description: "Events are change, removed, expired and gap; the data of the first three is a metric. After gap, changes have been missed: read anew what you show. " +
			"An id stands at the last of the changes that committed together; with it a client resumes, so that a change may come again and none is left out. On a WebSocket each message is an object of event, id and metric.",
		Parameters: []*huma.Param{twinParam, query("prefix", "Only components whose id begins so"), query("component", "Only this component; may repeat"), query("type", "Only components of this type"),
			query("metric", "Only this metric; may repeat"), query("after", "Resume behind this id"),
			{Name: "Last-Event-ID", In: "header", Schema: text, Description: "The same as after, as browsers send it"}},
		Responses: map[string]*huma.Response{
			"200":     {Description: "Events, until the client goes", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: text, Example: "id: 42\nevent: change\ndata: {\"component\":\"wagon-7\",\"metric\":\"speed\",\"value\":83.5}\n\n"}}},
			"101":     {Description: "A WebSocket of TwinChangeDoc", Content: map[string]*huma.MediaType{"application/json": {Schema: huma.SchemaFromType(schemas, reflect.TypeFor[TwinChangeDoc]())}}},
			"default": problemResponse(api, "Error"),
		}})
}

// twin finds a twin.
func (s *Server) twin(name string) (*twin.Twin, error) {
	if s.opts.Twins == nil {
		return nil, errNotOffered
	}
	return s.opts.Twins.Twin(name)
}

// getMetric answers with the newest value of one metric.
func (s *Server) getMetric(w http.ResponseWriter, r *http.Request) {
	k := twin.Key{Component: r.PathValue("id"), Metric: r.PathValue("metric")}
	t, err := s.twin(r.PathValue("twin"))
	var m twin.Metric
	now := time.Now()
	if err == nil && r.URL.RawQuery == "" {
		m, err = t.Get(r.Context(), k)
	} else if err == nil {
		if now, err = asOf(r.URL.Query()); err == nil {
			m, err = t.GetAt(r.Context(), k, now)
		}
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	if notModified(w, r, m.ETag()) {
		return
	}
	answerJSON(w, m.AppendJSON(make([]byte, 0, 512), now))
}

// getComponent answers with all metrics of one component.
func (s *Server) getComponent(w http.ResponseWriter, r *http.Request) {
	t, err := s.twin(r.PathValue("twin"))
	var c twin.Component
	now := time.Now()
	if err == nil && r.URL.RawQuery == "" {
		c, err = t.Component(r.Context(), r.PathValue("id"))
	} else if err == nil {
		if now, err = asOf(r.URL.Query()); err == nil {
			c, err = t.ComponentAt(r.Context(), r.PathValue("id"), now)
		}
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	if notModified(w, r, c.ETag()) {
		return
	}
	b, err := json.Marshal(componentDoc(&c, now))
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	answerJSON(w, b)
}

func answerJSON(w http.ResponseWriter, b []byte) {
	h := w.Header()
	b = append(b, '\n') // for terminals
	h["Content-Type"] = contentJSON
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	_, _ = w.Write(b) // a client that is gone needs no answer
}

var contentJSON = []string{"application/json"}

// notModified answers 304 when the client has the newest answer already.
func notModified(w http.ResponseWriter, r *http.Request, tag string) bool {
	w.Header()["Etag"] = []string{tag}
	have := r.Header["If-None-Match"]
	if len(have) == 0 || !slices.ContainsFunc(strings.Split(strings.Join(have, ","), ","), func(t string) bool { t = strings.TrimSpace(t); return t == tag || t == "*" || "W/"+t == tag }) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// asOf reads the one parameter at.
func asOf(q url.Values) (time.Time, error) {
	for name := range q {
		if name != "at" {
			return time.Time{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter " + strconv.Quote(clip(name)) + " is not known here", Hint: "there is at, a time such as 2026-11-20T03:00:00Z"}
		}
	}
	return parseMoment(q.Get("at"))
}

func parseMoment(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || at.Year() < 1 {
		return at, &tarn.Error{Code: tarn.CodeInvalid, Detail: strconv.Quote(clip(s)) + " is not a time", Hint: "write it like 2026-11-20T03:00:00Z"}
	}
	return at, nil
}

func (s *Server) listTwins(_ context.Context, _ *none) (*twinsOut, error) {
	if s.opts.Twins == nil {
		return nil, errNotOffered
	}
	out := &twinsOut{Body: twinList{Twins: []TwinDoc{}}}
	for _, t := range s.opts.Twins.Twins() {
		out.Body.Twins = append(out.Body.Twins, twinDoc(t))
	}
	return out, nil
}

func (s *Server) listComponents(ctx context.Context, in *componentsIn) (*componentsOut, error) {
	t, err := s.twin(in.Twin)
	if err != nil {
		return nil, err
	}
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var p twin.Page
	if in.At == "" {
		p, err = t.List(ctx, f)
	} else if now, err = parseMoment(in.At); err == nil {
		p, err = t.ListAt(ctx, f, now)
	}
	if err != nil {
		return nil, err
	}
	out := &componentsOut{Body: ComponentPage{Components: []ComponentDoc{}}}
	for i := range p.Components {
		out.Body.Components = append(out.Body.Components, componentDoc(&p.Components[i], now))
	}
	if p.Next != "" {
		out.Body.Next = base64.RawURLEncoding.EncodeToString([]byte(p.Next))
	}
	return out, nil
}

// filter returns what the query string selects.
func (in *componentsIn) filter() (twin.Filter, error) {
	f := twin.Filter{Prefix: in.Prefix, Type: in.Type, Metric: in.Metric, Limit: in.Limit}
	bad := func(name, text, hint string) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter " + name + "=" + strconv.Quote(clip(text)) + " is not usable", Hint: hint}
	}
	for _, n := range []struct {
		name, text string
		to         **float64
	}{{"min", in.Min, &f.Min}, {"max", in.Max, &f.Max}} {
		if n.text == "" {
			continue
		}
		v, err := strconv.ParseFloat(n.text, 64)
		if err != nil || v != v {
			return f, bad(n.name, n.text, "write a number")
		}
		*n.to = &v
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"older_than", in.OlderThan, &f.OlderThan}, {"newer_than", in.NewerThan, &f.NewerThan}} {
		if d.text == "" {
			continue
		}
		var v v1.Duration
		if err := v.UnmarshalText([]byte(d.text)); err != nil || v <= 0 {
			return f, bad(d.name, d.text, "write a number and a unit, such as 30s, 5m or 2h")
		}
		*d.to = time.Duration(v)
	}
	if in.Value != "" {
		v, err := twin.ParseValue([]byte(in.Value))
		if err != nil {
			v = twin.StringValue(in.Value) // without quotes
		}
		f.Value = &v
	}
	after, err := base64.RawURLEncoding.DecodeString(in.After)
	if err != nil {
		return f, bad("after", in.After, "take it from the member next of the page before")
	}
	f.After = string(after)
	return f, nil
}

func (s *Server) readMetrics(ctx context.Context, in *readIn) (*readOut, error) {
	t, err := s.twin(in.Twin)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if in.Body.At != "" {
		if now, err = parseMoment(in.Body.At); err != nil {
			return nil, err
		}
	}
	out := &readOut{Body: ReadDoc{Values: []MetricDoc{}, Missing: []twin.Key{}}}
	for _, k := range in.Body.Keys {
		var m twin.Metric
		if in.Body.At == "" {
			m, err = t.Get(ctx, k)
		} else {
			m, err = t.GetAt(ctx, k, now)
		}
		switch {
		case err == nil:
			out.Body.Values = append(out.Body.Values, metricDoc(&m, now))
		case tarn.CodeOf(err) == tarn.CodeNotFound:
			out.Body.Missing = append(out.Body.Missing, k)
		default:
			return nil, err
		}
	}
	return out, nil
}

func (s *Server) metricHistory(ctx context.Context, in *historyIn) (*historyOut, error) {
	t, err := s.twin(in.Twin)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	r := twin.Range{To: now, Limit: in.Limit}
	if in.To != "" {
		if r.To, err = parseMoment(in.To); err != nil {
			return nil, err
		}
	}
	r.From = r.To.Add(-24 * time.Hour)
	if in.From != "" {
		if r.From, err = parseMoment(in.From); err != nil {
			return nil, err
		}
	}
	k := twin.Key{Component: in.ID, Metric: in.Metric}
	out := &historyOut{Body: HistoryDoc{Key: k, From: r.From.UTC(), To: r.To.UTC()}}
	if in.Step == "" {
		values, more, err := t.History(ctx, k, r)
		if err != nil {
			return nil, err
		}
		out.Body.More, out.Body.Values = more, []MetricDoc{}
		for i := range values {
			out.Body.Values = append(out.Body.Values, metricDoc(&values[i], now))
		}
		return out, nil
	}
	var step v1.Duration
	if err := step.UnmarshalText([]byte(in.Step)); err != nil || step <= 0 {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter step=" + strconv.Quote(clip(in.Step)) + " is not usable", Hint: "write a number and a unit, such as 1s, 5m or 1h"}
	}
	r.Step = time.Duration(step)
	buckets, more, err := t.Buckets(ctx, k, r)
	if err != nil {
		return nil, err
	}
	out.Body.More, out.Body.StepSeconds, out.Body.Buckets = more, r.Step.Seconds(), []BucketDoc{}
	for _, b := range buckets {
		out.Body.Buckets = append(out.Body.Buckets, BucketDoc(b))
	}
	return out, nil
}

// directSource is the lineage of what is written through this interface.
const directSource = "http"

func (s *Server) putMetric(ctx context.Context, in *putMetricIn) (*putMetricOut, error) {
	t, err := s.twin(in.Twin)
	if err != nil {
		return nil, err
	}
	v, err := twin.ParseValue(in.Body.Value)
	if err != nil {
		return nil, err
	}
	u := twin.Update{Component: in.ID, Type: in.Body.Type, Metric: in.Metric, Value: v, Unit: in.Body.Unit, At: in.Body.At, Source: directSource}
	if u.At.IsZero() {
		u.At = time.Now()
	}
	if u.Type == "" {
		if c, err := t.Component(ctx, u.Component); err == nil {
			u.Type = c.Type // so that the schema of the type holds for direct writes too
		}
	}
	return write(ctx, t, u)
}

func (s *Server) deleteMetric(ctx context.Context, in *deleteMetricIn) (*putMetricOut, error) {
	t, err := s.twin(in.Twin)
	if err != nil {
		return nil, err
	}
	u := twin.Update{Component: in.ID, Metric: in.Metric, At: in.At, Source: directSource}
	if u.At.IsZero() {
		u.At = time.Now() // and later than what there is, whose clock may be ahead
		if m, err := t.Get(ctx, u.Key()); err == nil && !m.At.Before(u.At) {
			u.At = m.At.Add(time.Microsecond)
		}
	}
	return write(ctx, t, u)
}

// write applies one update.
func write(ctx context.Context, t *twin.Twin, u twin.Update) (*putMetricOut, error) {
	res, err := t.Apply(ctx, twin.Batch{Updates: []twin.Update{u}})
	if err == nil && len(res.Rejected) > 0 {
		err = res.Rejected[0].Err
	}
	return &putMetricOut{Body: WriteDoc{Applied: res.Applied == 1, At: u.At.UTC().Truncate(time.Microsecond)}}, err
}
