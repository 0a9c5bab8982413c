package delivery

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/record/column"
)

// inputDocument is the name of the input schema among the table's documents. It is committed with
// the rows it describes.
const inputDocument = "input_schema"

// declaredDocument is the name of the text of the declared schema that the input schema began from.
// When the declaration changes, the input schema begins anew from it.
const declaredDocument = "declared_schema"

// Note says what type a member of the records was given, and why.
type Note = infer.Note

// inputSchema is one version of the columns that records are read into. It is immutable; its
// address is its version.
type inputSchema struct {
	schema tarn.Schema // the columns of records
	read   tarn.Schema // the columns asked of the JSON reader
	sel    string      // the select list that makes one of the other
	shreds *shreds
}

// input keeps the input schema of a delivery. The gatherer changes it; the committer and the status
// read it.
type input struct {
	mu       sync.RWMutex
	state    *infer.State // nil for opaque records
	cur      *inputSchema
	declared string // the declared schema as text
}

// opaqueColumns are the columns of records that are bytes.
var opaqueColumns = tarn.Schema{Fields: []tarn.Field{
	{Name: "record", Type: tarn.Type{Kind: tarn.Binary}},
	{Name: "arrival", Type: tarn.Type{Kind: tarn.Timestamp}},
	{Name: "partition_key", Type: tarn.Type{Kind: tarn.String}},
	{Name: "shard", Type: tarn.Type{Kind: tarn.Int}},
	{Name: "record_offset", Type: tarn.Type{Kind: tarn.Long}},
}}

// load begins from the committed documents, or afresh when there are none.
func (in *input) load(cfg Config, documents map[string][]byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cfg.Opaque {
		in.cur = opaqueInput()
		return nil
	}
	policy, err := infer.ParsePolicy(string(cfg.Policy))
	if err != nil {
		return err
	}
	opts := infer.Options{Policy: policy, CanWiden: canWiden(cfg)}
	in.declared = declaredText(cfg.Declared)
	document := documents[inputDocument]
	if document != nil && string(documents[declaredDocument]) == in.declared {
		if in.state, err = infer.Load(document, opts); err != nil {
			return fmt.Errorf("the input schema stored with the table: %w", err)
		}
	} else {
		in.state = infer.New(declared(cfg), opts)
	}
	in.refresh()
	return nil
}

// declaredText is a declared schema as text, "" for none.
func declaredText(s *tarn.Schema) string {
	var b strings.Builder
	if s != nil {
		for _, f := range s.Fields {
			fmt.Fprintf(&b, "%s %s %v\n", tarn.QuoteIdent(f.Name), f.Type.SQL(), f.Required)
		}
	}
	return b.String()
}

// declared returns what is known of the records' columns beforehand: the declared schema, or else
// the columns that the table is partitioned by time.
func declared(cfg Config) *tarn.Schema {
	if cfg.Declared != nil || len(cfg.Transform) > 0 || cfg.Policy != Evolve {
		return cfg.Declared
	}
	var s tarn.Schema
	for _, p := range cfg.Partition {
		switch p.Transform {
		case tarn.Hour, tarn.Day, tarn.Month, tarn.Year:
			if s.Lookup(p.Source) == nil {
				s.Fields = append(s.Fields, tarn.Field{Name: p.Source, Type: tarn.Type{Kind: tarn.Timestamp}, Doc: "partition column"})
			}
		}
	}
	if s.Fields == nil {
		return nil
	}
	return &s
}

// refresh makes a new version from the state; the caller holds mu.
func (in *input) refresh() {
	i := in.state.Input()
	in.cur = &inputSchema{schema: in.state.Schema(), read: i.Read, sel: i.Select}
	if len(in.cur.schema.Fields) == 0 { // only empty objects so far: rows of the column that all tables may get
		in.cur.schema = tarn.Schema{Fields: []tarn.Field{{Name: "_rest", Type: tarn.Type{Kind: tarn.JSON}}}}
		in.cur.read, in.cur.sel = in.cur.schema, "*"
	}
	_, able := column.Of(in.cur.read.Fields)
	in.cur.shreds = &shreds{able: able}
}

// canWiden keeps the columns that a table is partitioned by at their type.
func canWiden(cfg Config) func(infer.Path) bool {
	if len(cfg.Transform) > 0 {
		return nil // decided for the transform's columns, see evolve
	}
	return func(p infer.Path) bool {
		for _, f := range cfg.Partition {
			if len(p) == 1 && strings.EqualFold(f.Source, p[0]) {
				return false
			}
		}
		return true
	}
}

// opaqueInput is the one version for records that are bytes, which travel as base64.
func opaqueInput() *inputSchema {
	read := tarn.Schema{Fields: append([]tarn.Field(nil), opaqueColumns.Fields...)}
	read.Fields[0].Type = tarn.Type{Kind: tarn.String}
	return &inputSchema{schema: opaqueColumns, read: read, sel: "* REPLACE (from_base64(record) AS record)"}
}

// version returns the current input schema.
func (in *input) version() *inputSchema {
	in.mu.RLock()
	defer in.mu.RUnlock()
	return in.cur
}

// observe learns from a record of a shape not seen before.
func (in *input) observe(rec []byte) (infer.Effect, error) {
	e, err := in.state.Observe(rec)
	if err == nil && len(e.Added)+len(e.Widened) > 0 {
		in.mu.Lock()
		in.refresh()
		in.mu.Unlock()
	}
	return e, err
}

// decide fixes the columns from the sample.
func (in *input) decide() {
	in.state.Decide()
	in.mu.Lock()
	in.refresh()
	in.mu.Unlock()
}

// documents returns the state for a commit, nil when there is none.
func (in *input) documents() map[string][]byte {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.state == nil {
		return nil
	}
	return map[string][]byte{inputDocument: in.state.Document(), declaredDocument: []byte(in.declared)}
}

func (in *input) notes() []Note {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.state == nil {
		return nil
	}
	return in.state.Explain()
}

// opaqueLine is the JSON form in which bytes travel to the SQL engine.
func opaqueLine(dst, rec []byte, arrive time.Time, key string, shard int, offset uint64) []byte {
	dst = append(dst, `{"record":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, rec)
	dst = append(dst, `","arrival":"`...)
	dst = arrive.UTC().AppendFormat(dst, "2006-01-02T15:04:05.999999Z")
	dst = append(dst, `","partition_key":`...)
	dst = append(dst, quoteJSON(key)...)
	dst = append(dst, `,"shard":`...)
	dst = strconv.AppendInt(dst, int64(shard), 10)
	dst = append(dst, `,"record_offset":`...)
	dst = strconv.AppendUint(dst, offset, 10)
	return append(dst, '}', '\n')
}

func quoteJSON(s string) string {
	b, _ := json.Marshal(s) // a string always encodes
	return string(b)
}
