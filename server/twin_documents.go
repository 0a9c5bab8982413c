package server

import (
	"encoding/json"
	"time"

	"github.com/tarn-data/tarn/twin"
)

// TwinDoc is a twin of the project.
type TwinDoc struct {
	Name        string `json:"name" example:"fleet"`
	History     string `json:"history,omitempty" example:"curated.fleet_history" doc:"The table that holds the past"`
	ExpireAfter string `json:"expire_after,omitempty" example:"24h0m0s"`
	Version     int64  `json:"version" doc:"Grows with every change; the id to watch from"`
	Components  int    `json:"components" doc:"In memory"`
	Metrics     int    `json:"metrics" doc:"In memory"`
	Complete    bool   `json:"complete" doc:"All values are in memory; others are read from the database"`
}

// MetricDoc is the value of a metric, with where it comes from.
type MetricDoc struct {
	Component  string          `json:"component" example:"wagon-7"`
	Type       string          `json:"type,omitempty" example:"wagon" doc:"Of the component, as the update said"`
	Metric     string          `json:"metric" example:"speed"`
	Value      json.RawMessage `json:"value"`
	Kind       string          `json:"kind" enum:"number,string,boolean,json,removed" example:"number"`
	Unit       string          `json:"unit,omitempty" example:"km/h"`
	At         time.Time       `json:"at" doc:"When the value was so"`
	AgeSeconds float64         `json:"age_seconds" example:"0.25" doc:"Since then; negative when the clock of the sender is ahead"`
	Unknown    bool            `json:"unknown,omitempty" doc:"The schema of the twin does not name this metric"`
	Lineage    LineageDoc      `json:"lineage"`
}

// LineageDoc says where a value comes from.
type LineageDoc struct {
	Pipeline string `json:"pipeline,omitempty" example:"telemetry"`
	Source   string `json:"source,omitempty" example:"speed_of_wagons"`
	Stream   string `json:"stream,omitempty" example:"telemetry"`
	Position string `json:"position,omitempty" example:"0:1842" doc:"Of the record in the stream"`
}

// ComponentDoc is a component with metrics.
type ComponentDoc struct {
	Component  string      `json:"component" example:"wagon-7"`
	Type       string      `json:"type,omitempty" example:"wagon"`
	At         time.Time   `json:"at" doc:"Of its newest value"`
	AgeSeconds float64     `json:"age_seconds" example:"0.25"`
	Metrics    []MetricDoc `json:"metrics" doc:"In order of name; in a list, those that the filter selects"`
}

// ComponentPage is a part of a list of components.
type ComponentPage struct {
	Components []ComponentDoc `json:"components"`
	Next       string         `json:"next,omitempty" doc:"The parameter after of the next page; a page may be short, even empty, before the last"`
}

// ReadDoc answers a batch read.
type ReadDoc struct {
	Values  []MetricDoc `json:"values" doc:"In the order of the keys"`
	Missing []twin.Key  `json:"missing"`
}

// BucketDoc is what the numbers of a metric were within one step.
type BucketDoc struct {
	At    time.Time `json:"at" doc:"Beginning of the step"`
	Count int64     `json:"count"`
	Min   float64   `json:"min"`
	Max   float64   `json:"max"`
	Mean  float64   `json:"mean"`
	First float64   `json:"first"`
	Last  float64   `json:"last"`
	Unit  string    `json:"unit,omitempty" doc:"Of the last"`
}

// HistoryDoc is the past of a metric: values, or buckets when the request has a step.
type HistoryDoc struct {
	twin.Key
	From        time.Time   `json:"from"`
	To          time.Time   `json:"to"`
	StepSeconds float64     `json:"step_seconds,omitempty"`
	Values      []MetricDoc `json:"values,omitzero" doc:"Absent with a step"`
	Buckets     []BucketDoc `json:"buckets,omitzero" doc:"Those that have numbers; absent without a step"`
	More        bool        `json:"more" doc:"The limit cut the answer off: ask again from behind the last"`
}

// WriteDoc answers a direct write.
type WriteDoc struct {
	Applied bool      `json:"applied" doc:"false: the twin has something newer, and keeps it"`
	At      time.Time `json:"at"`
}

// TwinChangeDoc is a message on a WebSocket.
type TwinChangeDoc struct {
	Event  string     `json:"event" enum:"ready,change,removed,expired,gap" doc:"ready comes first; gap: changes have been missed, read anew what you show"`
	ID     int64      `json:"id,omitempty" doc:"Resumes behind this change and all before it"`
	Metric *MetricDoc `json:"metric,omitempty"`
}

// TwinParam is the parameter of paths that names a twin.
type TwinParam struct {
	Twin string `path:"twin" maxLength:"63" example:"fleet" doc:"The twin"`
}

// MetricParams are the parameters of paths that name a metric.
type MetricParams struct {
	TwinParam
	ID     string `path:"id" maxLength:"3072" example:"wagon-7" doc:"The component, percent-encoded"`
	Metric string `path:"metric" maxLength:"765" example:"speed" doc:"The metric, percent-encoded"`
}

type (
	twinsOut struct{ Body twinList }
	twinList struct {
		Twins []TwinDoc `json:"twins"`
	}
	componentsIn struct {
		TwinParam
		Prefix    string `query:"prefix" maxLength:"1024" example:"wagon-" doc:"Only components whose id begins so"`
		Type      string `query:"type" maxLength:"255" doc:"Only components of this type"`
		Metric    string `query:"metric" maxLength:"255" example:"speed" doc:"Only this metric, and components that have it. The filters below must hold for one metric together"`
		Min       string `query:"min" maxLength:"64" example:"80" doc:"Only numbers from here"`
		Max       string `query:"max" maxLength:"64" doc:"Only numbers up to here"`
		Value     string `query:"value" maxLength:"1024" doc:"Only this value: JSON, or a string without its quotes"`
		OlderThan string `query:"older_than" maxLength:"32" example:"15m" doc:"Only values that are at least so old"`
		NewerThan string `query:"newer_than" maxLength:"32" doc:"Only values that are less old"`
		At        string `query:"at" maxLength:"64" doc:"As of then, from the history of the twin"`
		After     string `query:"after" maxLength:"2048" doc:"The member next of the page before"`
		Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many components"`
	}
	componentsOut struct{ Body ComponentPage }
	readIn        struct {
		TwinParam
		Body struct {
			Keys []twin.Key `json:"keys" minItems:"1" maxItems:"1000" doc:"What to read"`
			At   string     `json:"at,omitempty" maxLength:"64" doc:"As of then, from the history of the twin"`
		}
	}
	readOut   struct{ Body ReadDoc }
	historyIn struct {
		MetricParams
		From  string `query:"from" maxLength:"64" format:"date-time" example:"2026-11-20T03:00:00Z" doc:"From here; default 24 hours before to"`
		To    string `query:"to" maxLength:"64" format:"date-time" doc:"Up to here, and not at it; default now"`
		Step  string `query:"step" maxLength:"32" example:"5m" doc:"Down-sample the numbers into buckets of this length"`
		Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"At most so many values or buckets"`
	}
	historyOut  struct{ Body HistoryDoc }
	putMetricIn struct {
		MetricParams
		Body struct {
			Value json.RawMessage `json:"value" doc:"A number, string, boolean, object or array"`
			At    time.Time       `json:"at,omitzero" doc:"When the value was so; default now"`
			Unit  string          `json:"unit,omitempty" maxLength:"255"`
			Type  string          `json:"type,omitempty" maxLength:"255" doc:"Of the component; default what it has"`
		}
	}
	deleteMetricIn struct {
		MetricParams
		At time.Time `query:"at" doc:"Values up to then are removed; default now, or the time of the value when that is later"`
	}
	putMetricOut struct{ Body WriteDoc }
)

func twinDoc(t *twin.Twin) TwinDoc {
	st, spec := t.Status(), t.Spec()
	d := TwinDoc{Name: t.Name(), History: spec.History, Version: st.Version, Components: st.Components, Metrics: st.Metrics, Complete: st.Complete}
	if spec.ExpireAfter > 0 {
		d.ExpireAfter = spec.ExpireAfter.String()
	}
	return d
}

func metricDoc(m *twin.Metric, now time.Time) MetricDoc {
	d := MetricDoc{Component: m.Component, Type: m.Type, Metric: m.Metric, Value: m.Value.AppendJSON(nil), Kind: m.Value.Kind().String(), Unit: m.Unit, At: m.At,
		AgeSeconds: twin.AgeSeconds(m.At, now), Unknown: m.Unknown, Lineage: LineageDoc{Pipeline: m.Pipeline, Source: m.Source}}
	if m.Position.Stream != "" {
		d.Lineage.Stream, d.Lineage.Position = m.Position.Stream, m.Position.Position.String()
	}
	return d
}

func componentDoc(c *twin.Component, now time.Time) ComponentDoc {
	d := ComponentDoc{Component: c.Component, Type: c.Type, At: c.At, AgeSeconds: twin.AgeSeconds(c.At, now), Metrics: make([]MetricDoc, len(c.Metrics))}
	for i := range c.Metrics {
		d.Metrics[i] = metricDoc(&c.Metrics[i], now)
	}
	return d
}
