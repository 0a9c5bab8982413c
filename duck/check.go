package duck

import (
	"context"
	"fmt"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

// Finding is a construct that makes a transform depend on how records happen to be batched, or on
// when it runs: the same records would not always give the same rows.
type Finding struct {
	Position Position // of the construct; zero when unknown
	Kind     string   // aggregate, window, distinct, order, limit, sample, join, set, recursive, random, clock
	Detail   string   // a sentence for the author of the SQL
}

// String returns "line 1, column 8: …".
func (f Finding) String() string {
	if f.Position.Line == 0 {
		return f.Detail
	}
	return f.Position.String() + ": " + f.Detail
}

// Checked is what CheckSelect learns about a SELECT.
type Checked struct {
	Tables   []string // the tables it reads, as written ("records", "curated.fleet"), without repetition
	Findings []Finding
}

// CheckSelect parses the SELECT of a transform without running it: its syntax, that it is one
// SELECT, that it calls only functions of the sandbox. Errors say line and column. What a row-wise
// transform should not do is returned as findings, for the caller to refuse or warn.
func (d *DB) CheckSelect(ctx context.Context, sql string) (*Checked, error) {
	tree, err := d.Parse(ctx, sql)
	if err != nil {
		return nil, err
	}
	if err := CheckFunctions(sql, tree); err != nil {
		return nil, err
	}
	c := &checker{sql: sql, seen: map[string]bool{}}
	if err := tree.Walk(c.visit); err != nil {
		return nil, err
	}
	return &c.Checked, nil
}

// CheckSelect is DB.CheckSelect on an instance of its own: for callers that have none, such as the
// validation of a project. It costs about 10 ms.
func CheckSelect(ctx context.Context, sql string) (*Checked, error) {
	d, err := Open(Options{MemoryBytes: 64 << 20, Threads: 1})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.CheckSelect(ctx, sql)
}

// Tables returns the names of the tables a SELECT reads, as CheckSelect does.
func (d *DB) Tables(ctx context.Context, sql string) ([]string, error) {
	c, err := d.CheckSelect(ctx, sql)
	if err != nil {
		return nil, err
	}
	return c.Tables, nil
}

type checker struct {
	Checked
	sql  string
	seen map[string]bool
}

func (c *checker) find(n ast.Node, kind, format string, args ...any) {
	f := Finding{Kind: kind, Detail: fmt.Sprintf(format, args...)}
	if at := ast.FirstOffset(n); at >= 0 {
		f.Position = PositionOf(c.sql, at)
	}
	c.Findings = append(c.Findings, f)
}

func (c *checker) visit(n ast.Node, k ast.Kind, s *ast.Scope) error {
	switch k {
	case ast.TableRef:
		return c.table(n, s)
	case ast.Query:
		c.query(n, s)
	case ast.Expr:
		c.varying(n)
	}
	return nil
}

func (c *checker) table(n ast.Node, s *ast.Scope) error {
	if n["sample"] != nil {
		c.find(n, "sample", "a sample takes other records on every run")
	}
	switch ast.Str(n, "type") {
	case "SHOW_REF":
		e := &tarn.Error{Code: tarn.CodeForbidden, Detail: "DESCRIBE, SUMMARIZE and SHOW are not allowed here", Hint: "write a SELECT"}
		return At(c.sql, ast.Offset(n), e)
	case "BASE_TABLE":
		name := ast.Str(n, "table_name")
		if schema := ast.Str(n, "schema_name"); schema != "" {
			name = schema + "." + name
		} else if s.Has(name) {
			return nil
		}
		if !c.seen[strings.ToLower(name)] {
			c.seen[strings.ToLower(name)] = true
			c.Tables = append(c.Tables, name)
		}
	case "JOIN":
		l, _ := n["left"].(ast.Node)
		r, _ := n["right"].(ast.Node)
		if reads(l) && reads(r) {
			c.find(n, "join", "a join sees only the records of one batch")
		}
	}
	return nil
}

// query finds what makes a query over records more than row by row. A query that reads no table,
// such as an aggregate over unnest(list) in a subquery, is free to do as it likes.
func (c *checker) query(n ast.Node, s *ast.Scope) {
	switch ast.Str(n, "type") {
	case "SET_OPERATION_NODE":
		all, _ := n["setop_all"].(bool)
		if op := ast.Str(n, "setop_type"); !all || !strings.HasPrefix(op, "UNION") {
			c.find(n, "set", "%s compares the records of one batch only; UNION ALL does not", strings.ReplaceAll(op, "_", " "))
		}
		c.modifiers(n)
	case "RECURSIVE_CTE_NODE":
		if reads(n) {
			c.find(n, "recursive", "a recursive query sees only the records of one batch")
		}
	case "SELECT_NODE":
		from, _ := n["from_table"].(ast.Node)
		if !reads(from) {
			return
		}
		if n["sample"] != nil {
			c.find(n, "sample", "a sample takes other records on every run")
		}
		groups, _ := n["group_expressions"].([]any)
		if len(groups) > 0 || ast.Str(n, "aggregate_handling") == "FORCE_AGGREGATES" {
			c.find(ast.Node{"at": groups}, "aggregate", "GROUP BY groups the records of one batch only")
		}
		c.modifiers(n)
		for _, part := range []string{"select_list", "having", "qualify", "where_clause"} {
			c.calls(n[part])
		}
	}
}

func (c *checker) modifiers(n ast.Node) {
	list, _ := n["modifiers"].([]any)
	for _, m := range list {
		m, _ := m.(ast.Node)
		switch ast.Str(m, "type") {
		case "ORDER_MODIFIER":
			c.find(m, "order", "ORDER BY orders the records of one batch only; tables have no order")
		case "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER":
			c.find(m, "limit", "LIMIT and OFFSET count the records of one batch: others would be lost")
		case "DISTINCT_MODIFIER":
			c.find(m, "distinct", "DISTINCT compares the records of one batch only")
		}
	}
}

// calls finds aggregates and window functions of one query, not those of queries inside it.
func (c *checker) calls(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			c.calls(e)
		}
	case ast.Node:
		name := strings.ToLower(ast.Str(v, "function_name"))
		switch class := ast.Str(v, "class"); {
		case class == "SUBQUERY" || class == "CONSTANT":
			return
		case class == "WINDOW":
			c.find(v, "window", "the window function %s sees only the records of one batch", name)
		case class == "FUNCTION" && IsAggregate(name) && !loadFunctions().allowed["scalar "+name]:
			c.find(v, "aggregate", "the aggregate %s sees only the records of one batch", name)
		}
		for _, e := range v {
			c.calls(e)
		}
	}
}

func (c *checker) varying(n ast.Node) {
	name := ""
	switch ast.Str(n, "class") {
	case "FUNCTION":
		name = ast.Str(n, "function_name")
	case "COLUMN_REF": // CURRENT_DATE and its like are parsed as columns
		if names := ast.Strs(n, "column_names"); len(names) == 1 && keywordClock[strings.ToLower(names[0])] {
			name = "current_date"
			c.find(n, "clock", "%s is the time of the run, not of the record: a replay gives other rows", strings.ToLower(names[0]))
			return
		}
	}
	switch loadFunctions().varying[strings.ToLower(name)] {
	case "random":
		c.find(n, "random", "%s gives another value on every run: a replay gives other rows", name)
	case "clock":
		c.find(n, "clock", "%s is the time of the run, not of the record: a replay gives other rows", name)
	}
}

var keywordClock = map[string]bool{"current_date": true, "current_timestamp": true, "current_time": true, "localtime": true, "localtimestamp": true}

// reads reports whether a table reference or query reads a table or a common table expression.
func reads(n ast.Node) bool {
	found := false
	// Only refused constructs can fail the walk, and those have failed CheckFunctions before.
	_ = ast.Under(n, nil, func(n ast.Node, k ast.Kind, _ *ast.Scope) error {
		found = found || k == ast.TableRef && ast.Str(n, "type") == "BASE_TABLE"
		return nil
	})
	return found
}
