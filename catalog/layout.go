package catalog

import (
	"encoding/json"
	"strings"

	"github.com/tarn-data/tarn"
)

// Layout is how a file is read and the columns it holds. Most files of a table share one. Its JSON
// form is stored.
type Layout struct {
	Format      Format       `json:"format"`
	Compression string       `json:"compression,omitempty"` // none, gzip or zstd
	Encoding    string       `json:"encoding,omitempty"`    // of CSV; none is UTF-8
	Array       bool         `json:"array,omitempty"`       // of JSON
	Dialect     *Dialect     `json:"dialect,omitempty"`     // of CSV
	Columns     []FileColumn `json:"columns"`
}

// Dialect is how a CSV file is written.
type Dialect struct {
	Delimiter string `json:"delimiter"`
	Quote     string `json:"quote,omitempty"`
	Escape    string `json:"escape,omitempty"`
	Comment   string `json:"comment,omitempty"`
	NewLine   string `json:"new_line,omitempty"` // as DuckDB writes it; none is either of \n and \r\n
	Skip      int64  `json:"skip,omitempty"`     // lines before the header
	Header    bool   `json:"header"`
	Date      string `json:"date_format,omitempty"` // none is ISO 8601
	Timestamp string `json:"timestamp_format,omitempty"`
}

// FileColumn is a column as one file holds it.
type FileColumn struct {
	Name string `json:"name"`
	// Type is DuckDB's name of the type, which tables may have no equal of; "" when every value is
	// NULL and so any type would do.
	Type string `json:"type,omitempty"`
}

// key identifies the layout among those of a crawler.
func (l Layout) key() string {
	b, _ := json.Marshal(l) // strings, numbers and booleans always marshal
	return string(b)
}

func (l Layout) isJSON() bool { return l.Format == JSON || l.Format == NDJSON }

// textual reports a format whose types are read off text, so that they may differ between files of
// the same columns.
func (l Layout) textual() bool { return l.Format != Parquet && l.Format != Avro }

// typeOf returns the type of the column for a table, the zero Type when any would do.
func (c FileColumn) typeOf() tarn.Type {
	if c.Type == "" {
		return tarn.Type{}
	}
	t, err := tarn.ParseType(c.Type)
	if err != nil {
		return tarn.Type{Kind: tarn.String} // INTERVAL, BIT and the like are read as text
	}
	return t
}

// fold is how names of columns are compared, as SQL identifiers are.
func fold(name string) string { return strings.ToLower(name) }
