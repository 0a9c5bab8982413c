package v1

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// Twin is the content of one file under twins/: the newest value of every metric of every component.
type Twin struct {
	Twin        Name       `json:"twin" required:"true" example:"fleet" doc:"The name of the twin."`
	Owner       string     `json:"owner,omitempty" example:"fleet-data" doc:"Who answers for it."`
	Description string     `json:"description,omitempty" doc:"What its components are, for people."`
	ExpireAfter Duration   `json:"expire_after,omitempty" min:"1s" max:"87600h" example:"24h" doc:"A value is gone when its time is so long ago. Default: never."`
	History     TableName  `json:"history,omitempty" example:"curated.fleet_history" doc:"The table that holds the past: the columns 'component', 'metric' and 'at', the value in 'value_number', 'value_text', 'value_boolean' and 'value_json' or in 'value', and any of 'type', 'unit', 'pipeline', 'source', 'stream', 'shard' and 'record_offset'. Without it the twin has no past."`
	Unknown     string     `json:"unknown" default:"accept" enum:"accept,tag,reject" example:"tag" doc:"What becomes of metrics that 'types' does not name. 'accept': they are kept. 'tag': they are kept, and answers say that they are unknown. 'reject': they are refused."`
	Types       []TwinType `json:"types,omitempty" shorthand:"type,metrics" example:"{wagon: {speed: number, door_open: boolean}}" doc:"The metrics of each type of component: a mapping of type to metrics, or a list. Without it everything is allowed."`
}

// TwinType is the metrics that components of one type have.
type TwinType struct {
	Type    Label        `json:"type" required:"true" example:"wagon" doc:"The type of component, as updates name it."`
	Metrics []TwinMetric `json:"metrics" required:"true" shorthand:"metric,value" example:"{speed: number}" doc:"Its metrics: a mapping of metric to the kind of its value, or a list where they have units."`
}

// TwinMetric is one metric that is allowed.
type TwinMetric struct {
	Metric Label  `json:"metric" required:"true" example:"speed" doc:"The name of the metric."`
	Value  string `json:"value" required:"true" enum:"number,string,boolean,json" example:"number" doc:"What its values are. Values of another kind are refused; 'json' takes all."`
	Unit   Label  `json:"unit,omitempty" example:"km/h" doc:"The unit. Values without one get it, and those in another are refused."`
}

// Label is any printable text of 1 to 255 bytes.
type Label string

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Label) UnmarshalText(b []byte) error {
	s := string(b)
	if s == "" || len(s) > 255 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " cannot be a name here", Hint: "use 1 to 255 bytes of printable text"}
	}
	*l = Label(s)
	return nil
}
