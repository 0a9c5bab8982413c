package tarn

import (
	"strings"
	"testing"
)

func TestParsePartitionField(t *testing.T) {
	for _, tt := range []struct {
		in           string
		want         PartitionField
		name, string string
	}{
		{"ts", PartitionField{"ts", Identity, 0}, "ts", "ts"},
		{" identity( ts ) ", PartitionField{"ts", Identity, 0}, "ts", "ts"},
		{"hour(ts)", PartitionField{"ts", Hour, 0}, "ts_hour", "hour(ts)"},
		{"Day (ts)", PartitionField{"ts", Day, 0}, "ts_day", "day(ts)"},
		{"MONTH(ts)", PartitionField{"ts", Month, 0}, "ts_month", "month(ts)"},
		{"year(ts)", PartitionField{"ts", Year, 0}, "ts_year", "year(ts)"},
		{"bucket(16,id)", PartitionField{"id", Bucket, 16}, "id_bucket", "bucket(16, id)"},
		{"truncate( 8 , name )", PartitionField{"name", Truncate, 8}, "name_trunc", "truncate(8, name)"},
		{"hour", PartitionField{"hour", Identity, 0}, "hour", "hour"},
		{"a.b-c", PartitionField{"a.b-c", Identity, 0}, "a.b-c", "a.b-c"},
		{"größe", PartitionField{"größe", Identity, 0}, "größe", "größe"},
		{`"Event Time"`, PartitionField{"Event Time", Identity, 0}, "Event Time", `"Event Time"`},
		{`hour("a ""b"" (c), d")`, PartitionField{`a "b" (c), d`, Hour, 0}, `a "b" (c), d_hour`, `hour("a ""b"" (c), d")`},
		{`bucket(4, "id")`, PartitionField{"id", Bucket, 4}, "id_bucket", "bucket(4, id)"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParsePartitionField(tt.in)
			if err != nil || got != tt.want {
				t.Fatalf("got %+v, %v; want %+v", got, err, tt.want)
			}
			if got.Name() != tt.name || got.String() != tt.string {
				t.Errorf("name %s, text %s", got.Name(), got)
			}
		})
	}
}

func TestParsePartitionFieldErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "the column is missing",
		" ":                    "the column is missing",
		"(ts)":                 "the column is missing",
		`""`:                   "the column is missing",
		"hourly(ts)":           "unknown transform hourly",
		"hour(":                "the parentheses do not match",
		"hour(ts":              "the parentheses do not match",
		"hour((ts)":            "the column is missing",
		"hour(ts))":            "the parentheses do not match",
		"hour(ts) x":           "the parentheses do not match",
		"hour(ts)(x)":          "the parentheses do not match",
		"hour()":               "it takes one column",
		"hour( )":              "it takes one column",
		"hour(a, b)":           "it takes one column",
		"hour(a b)":            "the parentheses do not match",
		"a b":                  "there is text after the column",
		"a)":                   "there is text after the column",
		`"a" b`:                "there is text after the column",
		`"hour"(ts)`:           "there is text after the column",
		`"a`:                   "a quoted column does not end",
		`hour("a)`:             "a quoted column does not end",
		"bucket(id)":           "it takes a positive number and a column",
		"bucket(0, id)":        "it takes a positive number and a column",
		"bucket(-1, id)":       "it takes a positive number and a column",
		"bucket(+1, id)":       "it takes a positive number and a column",
		"bucket(9999999999,x)": "it takes a positive number and a column",
		"bucket(4, )":          "it takes one column",
		"bucket(4, a, b)":      "it takes one column",
		"truncate(x, name)":    "it takes a positive number and a column",
		"hour(\xff)":           "it is not UTF-8",
	} {
		got, err := ParsePartitionField(in)
		if err == nil || CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePartitionField(%q) = %+v, %v; want %s", in, got, err, want)
		}
	}
}

// What parses names one column and reads back from its text as itself.
func FuzzParsePartition(f *testing.F) {
	for _, s := range []string{"ts", "hour(ts)", "bucket(16, id)", "truncate(8,\"a b\")", "identity(\"a\"\"\")", "\"hour(ts)\"", "bucket(", "((", "a,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePartitionField(s)
		if err != nil {
			if CodeOf(err) != CodeInvalid {
				t.Fatalf("code %s", CodeOf(err))
			}
			return
		}
		if p.Source == "" || (p.Param > 0) != (p.Transform == Bucket || p.Transform == Truncate) {
			t.Fatalf("%q reads as %+v", s, p)
		}
		if q, err := ParsePartitionField(p.String()); err != nil || q != p {
			t.Fatalf("%q wrote %q, which reads as %+v, %v", s, p, q, err)
		}
	})
}
