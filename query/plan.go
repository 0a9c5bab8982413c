package query

import (
	"context"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
	"sync"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// planner holds an instance without data, in which statements are parsed and planned over empty
// stubs of the tables.
type planner struct {
	db *duck.DB

	mu    sync.RWMutex
	stubs map[string]string // table and columns → name of the stub
	start int64             // the instance the stubs are in
}

const maxStubs = 1000 // a schema that evolves leaves stubs behind

func newPlanner() (*planner, error) {
	db, err := duck.Open(duck.Options{MemoryBytes: 128 << 20, Threads: 1, PlanOnly: true})
	if err != nil {
		return nil, err
	}
	return &planner{db: db, stubs: map[string]string{}}, nil
}

// stub returns the name of an empty table with the schema's columns. Two tables never share one, so
// that a plan says which table each of its scans reads.
func (p *planner) stub(ctx context.Context, table string, schema tarn.Schema) (string, error) {
	columns := columnList(schema)
	key := table + "\n" + columns
	start := p.db.Starts()
	p.mu.RLock()
	name, old := p.stubs[key], p.start
	p.mu.RUnlock()
	if name != "" && start == old {
		return name, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.start != start { // the instance failed and was replaced by an empty one
		clear(p.stubs)
		p.start = start
	}
	if p.stubs[key] != "" {
		return p.stubs[key], nil
	}
	if len(p.stubs) >= maxStubs {
		for _, n := range p.stubs {
			if err := p.db.Exec(ctx, "DROP TABLE IF EXISTS "+n); err != nil {
				return "", err
			}
		}
		clear(p.stubs)
	}
	h := fnv.New64a()
	h.Write([]byte(key))
	name = fmt.Sprintf("stub_%d_%016x", len(p.stubs), h.Sum64())
	if err := p.db.Exec(ctx, "CREATE OR REPLACE TABLE "+name+" ("+columns+")"); err != nil {
		return "", err
	}
	p.stubs[key] = name
	return name, nil
}

func columnList(schema tarn.Schema) string {
	cols := make([]string, len(schema.Fields))
	for i, f := range schema.Fields {
		cols[i] = tarn.QuoteIdent(f.Name) + " " + f.Type.SQL()
	}
	return strings.Join(cols, ", ")
}

// plan returns DuckDB's optimized plan of a statement over stubs, as JSON, and "" when it can not
// be planned.
func (p *planner) plan(ctx context.Context, sql string) (string, error) {
	v, err := p.db.Values(ctx, "SELECT json_serialize_plan($1::VARCHAR, optimize := true)::VARCHAR", sql)
	if err != nil {
		return "", err
	}
	s, _ := v[0][0].(string)
	return s, nil
}

// explainFault binds the user's own text over stubs under their real names, for an error that names
// the place in that text. It returns nil when the text binds.
//
// The schema system stands there under a name as long as its own: DuckDB has a catalog called
// system, and would find that ambiguous.
func (p *planner) explainFault(ctx context.Context, sql string, tables map[string]tarn.Schema) error {
	stand := standIn(sql)
	c, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	p.mu.Lock() // one at a time: catalog changes of open transactions conflict
	defer p.mu.Unlock()
	if err := c.Exec(ctx, "BEGIN"); err != nil {
		return err
	}
	defer func() { _ = c.Exec(context.WithoutCancel(ctx), "ROLLBACK") }()
	made := map[string]bool{}
	for name, schema := range tables {
		zone, table, _ := strings.Cut(name, ".")
		if zone == systemSchema {
			zone = stand
		}
		if !made[zone] {
			made[zone] = true
			if err := c.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+tarn.QuoteIdent(zone)); err != nil {
				return err
			}
		}
		in := []string{zone}
		if zone == defaultSchema {
			in = append(in, "main") // found without a schema
		}
		for _, z := range in {
			if err := c.Exec(ctx, "CREATE OR REPLACE TABLE "+tarn.QuoteIdent(z)+"."+tarn.QuoteIdent(table)+" ("+columnList(schema)+")"); err != nil {
				return err
			}
		}
	}
	written := systemSchema
	if m := systemWord.FindStringSubmatch(sql); m != nil {
		written = m[2] // the message quotes the text, and is found again in it
	}
	err = c.Bind(ctx, systemWord.ReplaceAllString(sql, "${1}"+stand+"${3}"))
	if f := duck.FaultOf(err); f != nil {
		f.Message = strings.ReplaceAll(f.Message, stand, written)
	}
	return err
}

// systemWord finds the schema system where it qualifies a name.
var systemWord = regexp.MustCompile(`(?i)(^|[^\w.])(system)("?\s*\.)`)

// standIn returns a name of the length of systemSchema that is not in the text.
func standIn(sql string) string {
	sql = strings.ToLower(sql)
	for i := 0; ; i++ {
		if name := fmt.Sprintf("sys%03d", i); !strings.Contains(sql, name) || i == 999 {
			return name
		}
	}
}
