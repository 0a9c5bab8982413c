package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the outcome of a run. Its JSON form is stable: fields are added, never renamed.
type Report struct {
	Version    string    `json:"version"` // of the tarn binary
	Started    time.Time `json:"started"`
	Seconds    float64   `json:"seconds"` // the whole run took
	Machine    Machine   `json:"machine"`
	Events     int64     `json:"events"`
	EventBytes float64   `json:"event_bytes"` // mean size of an event
	Runs       int       `json:"runs"`
	Rows       []Row     `json:"rows"`
	LeftOut    []string  `json:"left_out,omitempty"` // what this machine cannot measure, and why
}

// Row is one measured number.
type Row struct {
	Scenario string    `json:"scenario"`
	Name     string    `json:"name"`
	Value    float64   `json:"value"`
	Unit     string    `json:"unit"`
	Samples  []float64 `json:"samples,omitempty"`  // of each run, when Value is their median
	Ratio    float64   `json:"ratio,omitempty"`    // to what RatioTo names; 0 when there is none
	RatioTo  string    `json:"ratio_to,omitempty"` //
	Target   string    `json:"target,omitempty"`   // empty when the row is only reported
	Met      *bool     `json:"met,omitempty"`      // nil when there is no target
	Note     string    `json:"note,omitempty"`
}

// atLeast and atMost set a target of the row's value, ratioAtLeast and ratioAtMost one of its ratio.
func (r Row) atLeast(limit float64) Row {
	return r.target("≥ "+number(limit)+" "+r.Unit, r.Value >= limit)
}
func (r Row) atMost(limit float64) Row {
	return r.target("≤ "+number(limit)+" "+r.Unit, r.Value <= limit)
}

func (r Row) to(what string, value float64) Row {
	if value != 0 {
		r.Ratio, r.RatioTo = r.Value/value, what
	}
	return r
}

func (r Row) ratioAtLeast(limit float64) Row {
	return r.target(fmt.Sprintf("≥ %g × %s", limit, r.RatioTo), r.Ratio >= limit)
}

func (r Row) ratioAtMost(limit float64) Row {
	return r.target(fmt.Sprintf("≤ %g × %s", limit, r.RatioTo), r.Ratio <= limit)
}

func (r Row) target(text string, met bool) Row {
	r.Target, r.Met = text, &met
	return r
}

// Missed returns the rows whose target is missed.
func (r Report) Missed() []Row {
	var rows []Row
	for _, row := range r.Rows {
		if row.Met != nil && !*row.Met {
			rows = append(rows, row)
		}
	}
	return rows
}

// WriteJSON writes the report as one indented JSON document.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteTable writes the report for people.
func (r Report) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "tarn %s on %s\n", r.Version, r.Machine)
	fmt.Fprintf(w, "%s events of %.0f bytes; medians of %d; %s, %.0f s\n\n",
		number(float64(r.Events)), r.EventBytes, r.Runs, r.Started.UTC().Format("2006-01-02 15:04 UTC"), r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tvalue\t\tratio\ttarget\t")
	for _, row := range r.Rows {
		ratio, met := "", ""
		if row.RatioTo != "" {
			ratio = strconv.FormatFloat(row.Ratio, 'f', 2, 64)
		}
		if row.Met != nil {
			met = map[bool]string{true: "met", false: "MISSED"}[*row.Met]
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, number(row.Value), row.Unit, ratio, row.Target, met)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	seen := map[string]bool{}
	for _, row := range r.Rows {
		if row.Note != "" && !seen[row.Note] {
			seen[row.Note] = true
			fmt.Fprintf(w, "%s: %s\n", row.Name, row.Note)
		}
	}
	for _, text := range r.LeftOut {
		fmt.Fprintf(w, "not measured: %s\n", text)
	}
	missed := len(r.Missed())
	if missed == 0 {
		_, err := fmt.Fprintln(w, "Every target is met.")
		return err
	}
	_, err := fmt.Fprintf(w, "%d targets are missed.\n", missed)
	return err
}

// number formats v with three significant digits below a thousand and with commas above.
func number(v float64) string {
	if v < 0 {
		return "-" + number(-v)
	}
	switch {
	case v == float64(int64(v)) && v < 1000:
		return strconv.FormatInt(int64(v), 10)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 1000:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
