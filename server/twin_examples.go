package server

import (
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn/twin"
)

// exampleMetric stands in the description of the interface.
func exampleMetric() MetricDoc {
	return MetricDoc{Component: "wagon-7", Type: "wagon", Metric: "speed", Value: json.RawMessage("83.5"), Kind: "number", Unit: "km/h",
		At: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC), AgeSeconds: 0.25, Lineage: LineageDoc{"telemetry", "speed_of_wagons", "telemetry", "0:1842"}}
}

func exampleComponent() ComponentDoc {
	m := exampleMetric()
	return ComponentDoc{Component: m.Component, Type: m.Type, At: m.At, AgeSeconds: m.AgeSeconds, Metrics: []MetricDoc{m}}
}

// exampleTwins gives every operation on twins a request and an answer to look at, and its parameters a value.
func exampleTwins(api huma.API) {
	m := exampleMetric()
	key := twin.Key{Component: m.Component, Metric: m.Metric}
	paths := api.OpenAPI().Paths
	written := WriteDoc{Applied: true, At: m.At}
	for _, e := range []struct {
		op              *huma.Operation
		request, answer any
	}{
		{paths["/v1/twins"].Get, nil, twinList{[]TwinDoc{{Name: "fleet", History: "curated.fleet_history", ExpireAfter: "24h0m0s", Version: 42, Components: 120, Metrics: 960, Complete: true}}}},
		{paths[twinPath+"/components"].Get, nil, ComponentPage{Components: []ComponentDoc{exampleComponent()}, Next: "d2Fnb24tNw"}},
		{paths[twinPath+"/read"].Post, map[string]any{"keys": []twin.Key{key, {Component: m.Component, Metric: "load"}}}, ReadDoc{Values: []MetricDoc{m}, Missing: []twin.Key{{Component: m.Component, Metric: "load"}}}},
		{paths[metricPath].Put, map[string]any{"value": 83.5, "at": m.At, "unit": m.Unit, "type": m.Type}, written},
		{paths[metricPath].Delete, nil, written},
		{paths[metricPath+"/history"].Get, nil, HistoryDoc{Key: key, From: m.At, To: m.At.Add(time.Hour), StepSeconds: 300,
			Buckets: []BucketDoc{{At: m.At, Count: 300, Min: 80, Max: 85, Mean: 82.5, First: 80, Last: 83.5, Unit: m.Unit}}}},
	} {
		e.op.Responses["200"].Content["application/json"].Example = e.answer
		if e.request != nil {
			e.op.RequestBody.Content["application/json"].Example = e.request
		}
	}
	values := map[string]any{"prefix": "wagon-", "component": "wagon-7", "type": "wagon", "metric": "speed", "max": "120", "value": "83.5", "newer_than": "1h", "at": m.At.Format(time.RFC3339), "after": "d2Fnb24tNw",
		"limit": 100, "from": m.At.Format(time.RFC3339), "to": m.At.Add(time.Hour).Format(time.RFC3339), "If-None-Match": `W/"660ac70994c00-0-a4f8713d7010e517"`, "Last-Event-ID": "42"}
	for path, item := range paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil || len(op.Tags) == 0 || op.Tags[0] != "twins" {
				continue
			}
			for _, p := range op.Parameters {
				if p.Example == nil && (p.Schema == nil || len(p.Schema.Examples) == 0) {
					p.Example = values[p.Name]
				}
				if p.Name == "after" && path == twinPath+"/changes" {
					p.Example = "42"
				}
			}
		}
	}
}
