package extract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/duck/ast"
	"github.com/tarn-data/tarn/project"
)

// Query is the SQL of an extract, ready to run.
type Query struct {
	SQL       string   // over the relation records and those of Tables
	Tables    []Joined // tables of the lake that it joins
	Positions bool     // it reads columns of delivery.Config.Positions
	Lineage   bool     // its rows carry record_shard and record_offset, named by the author or not
}

// Joined is a table of the lake under the name that Query.SQL calls it by.
type Joined struct{ Table, As string }

// records is the relation that extracts read.
const records = "records"

// Check parses the statement of an extract and refuses what would make its rows depend on how records
// happen to be batched, or on when it runs. Errors: CodeInvalid and CodeForbidden, with line and column
// where they are known.
func Check(ctx context.Context, db *duck.DB, sql string, rules project.ExtractRules) error {
	checked, err := db.CheckSelect(ctx, sql)
	if err != nil {
		return err
	}
	for _, f := range checked.Findings {
		if hint := refusal(f.Kind, rules.Windowed); hint != "" {
			return at(f.Position, f.Detail, hint)
		}
	}
	reads := false
	for _, t := range checked.Tables {
		switch zone, _, qualified := strings.Cut(t, "."); {
		case strings.EqualFold(t, records):
			reads = true
		case !qualified:
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: "there is no relation " + t, Hint: "write FROM records, and join tables by their full name, such as curated.wagons"}
		case !strings.EqualFold(zone, "curated"):
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the table " + t + " cannot be joined", Hint: "extracts join tables of the zone curated"}
		}
	}
	if !reads {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the statement does not read the relation records", Hint: "write SELECT … FROM records"}
	}
	tree, err := db.Parse(ctx, sql)
	if err != nil {
		return err
	}
	c := checker{sql: sql, rules: rules}
	return tree.Walk(c.visit)
}

// refusal returns what to do about a construct that extracts must not have, "" for those they may.
func refusal(kind string, windowed bool) string {
	switch {
	case kind == "join": // judged by checker
		return ""
	case windowed && (kind == "aggregate" || kind == "order"):
		return ""
	case kind == "random" || kind == "clock" || kind == "sample" || kind == "recursive":
		return "use what the records hold; record_arrival is when one was accepted"
	case windowed:
		return "the statement runs over several windows at once: GROUP BY window_start, window_end tells them apart"
	}
	return "add window: to the extract, or write SQL that works record by record"
}

func at(p duck.Position, detail, hint string) error {
	if p.Line > 0 {
		detail = p.String() + ": " + detail
	}
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: detail, Hint: hint}
}

type checker struct {
	sql   string
	rules project.ExtractRules
}

func (c *checker) visit(n ast.Node, k ast.Kind, _ *ast.Scope) error {
	switch {
	case k == ast.TableRef && ast.Str(n, "type") == "JOIN":
		return c.join(n)
	case k == ast.Query && ast.Str(n, "type") == "SELECT_NODE" && c.rules.Windowed:
		return c.grouping(n)
	}
	return nil
}

// join refuses joins whose rows depend on which records came in one batch: of records with records, and
// those that keep rows of a table which no record of the batch has matched.
func (c *checker) join(n ast.Node) error {
	left, _ := n["left"].(ast.Node)
	right, _ := n["right"].(ast.Node)
	l, r := readsRecords(left), readsRecords(right)
	switch kind := ast.Str(n, "join_type"); {
	case l && r:
		return c.refuse(n, "a join of records with records sees those of one batch only", "join records with tables of the lake")
	case kind == "OUTER", kind == "FULL", l && kind == "RIGHT", r && (kind == "LEFT" || kind == "SEMI" || kind == "ANTI" || kind == "SINGLE" || kind == "MARK"):
		return c.refuse(n, "the join gives rows for what no record of a batch has matched", "write records LEFT JOIN, or an inner join")
	}
	return nil
}

// grouping refuses aggregates over several windows at once.
func (c *checker) grouping(n ast.Node) error {
	groups, _ := n["group_expressions"].([]any)
	from, _ := n["from_table"].(ast.Node)
	aggregates := len(groups) > 0 || ast.Str(n, "aggregate_handling") == "FORCE_AGGREGATES" || aggregatesIn(n["select_list"])
	if !aggregates || !readsRecords(from) {
		return nil
	}
	by := map[string]bool{}
	list := groups
	if ast.Str(n, "aggregate_handling") == "FORCE_AGGREGATES" { // GROUP BY ALL
		list, _ = n["select_list"].([]any)
	}
	for _, g := range list {
		g, _ := g.(ast.Node)
		if names := ast.Strs(g, "column_names"); len(names) > 0 {
			by[strings.ToLower(names[len(names)-1])] = true
		}
	}
	if !by["window_start"] && !by["window_end"] {
		return c.refuse(n, "the aggregates mix windows", "write GROUP BY window_start, window_end, …")
	}
	for _, k := range c.rules.Key {
		if !by[strings.ToLower(k)] {
			return c.refuse(n, "the aggregates mix the sessions of different "+k, "write GROUP BY window_start, window_end, "+strings.Join(c.rules.Key, ", "))
		}
	}
	return nil
}

// aggregatesIn reports whether expressions call an aggregate.
func aggregatesIn(v any) bool {
	found := false
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			found = found || aggregatesIn(e)
		}
	case ast.Node:
		if class := ast.Str(v, "class"); class == "SUBQUERY" || class == "CONSTANT" {
			return false
		} else if class == "FUNCTION" && duck.IsAggregate(ast.Str(v, "function_name")) {
			return true
		}
		for _, e := range v {
			found = found || aggregatesIn(e)
		}
	}
	return found
}

func (c *checker) refuse(n ast.Node, detail, hint string) error {
	e := &tarn.Error{Code: tarn.CodeInvalid, Detail: detail, Hint: hint}
	if offset := ast.FirstOffset(n); offset >= 0 {
		return duck.At(c.sql, offset, e)
	}
	return e
}

func isRecords(n ast.Node) bool {
	return ast.Str(n, "type") == "BASE_TABLE" && ast.Str(n, "schema_name") == "" && strings.EqualFold(ast.Str(n, "table_name"), records)
}

// readsRecords reports whether a table reference or query reads records.
func readsRecords(n ast.Node) bool {
	found := false
	_ = ast.Under(n, nil, func(n ast.Node, k ast.Kind, _ *ast.Scope) error { // nothing here fails
		found = found || k == ast.TableRef && isRecords(n)
		return nil
	})
	return found
}

// Compile prepares a statement that Check has passed: tables get names that lookups are given under,
// and with lineage the rows carry where they come from, if it is clear which record each is of.
func Compile(ctx context.Context, db *duck.DB, sql string, lineage bool) (Query, error) {
	q := Query{SQL: sql, Positions: mentions(sql, delivery.ShardColumn, delivery.OffsetColumn, delivery.ArrivalColumn)}
	tree, err := db.Parse(ctx, sql)
	if err != nil {
		return q, err
	}
	err = tree.Walk(func(n ast.Node, k ast.Kind, _ *ast.Scope) error {
		if k == ast.TableRef && ast.Str(n, "type") == "BASE_TABLE" && ast.Str(n, "schema_name") != "" {
			q.join(n)
		}
		return nil
	})
	if err != nil {
		return q, err
	}
	q.Lineage = mentions(sql, delivery.ShardColumn) && mentions(sql, delivery.OffsetColumn)
	if lineage && !mentions(sql, delivery.ShardColumn, delivery.OffsetColumn) && carries(tree.Query()) {
		list, _ := tree.Query()["select_list"].([]any)
		tree.Query()["select_list"] = append(list, column(delivery.ShardColumn), column(delivery.OffsetColumn))
		q.Positions, q.Lineage = true, true
	}
	if len(q.Tables) > 0 || q.Lineage {
		q.SQL, err = db.Render(ctx, tree)
	}
	return q, err
}

// join gives a table its name in the statement.
func (q *Query) join(n ast.Node) {
	name := ast.Str(n, "table_name")
	full := strings.ToLower(ast.Str(n, "schema_name") + "." + name)
	i := slices.IndexFunc(q.Tables, func(j Joined) bool { return j.Table == full })
	if i < 0 {
		i = len(q.Tables)
		q.Tables = append(q.Tables, Joined{Table: full, As: fmt.Sprintf("__joined_%d", i)})
	}
	if ast.Str(n, "alias") == "" {
		n["alias"] = name
	}
	n["schema_name"], n["table_name"] = "", q.Tables[i].As
}

func mentions(sql string, names ...string) bool {
	lower := strings.ToLower(sql)
	return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(lower, n) })
}

// column is the tree of a reference to a column.
func column(name string) ast.Node {
	return ast.Node{"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "query_location": 0, "column_names": []any{name}}
}

// carries reports whether columns of records reach the select list of a query whether it names them or
// not.
func carries(query ast.Node) bool {
	if ast.Str(query, "type") != "SELECT_NODE" {
		return false
	}
	from, _ := query["from_table"].(ast.Node)
	return carriesFrom(from)
}

func carriesFrom(n ast.Node) bool {
	switch ast.Str(n, "type") {
	case "BASE_TABLE":
		return isRecords(n)
	case "JOIN":
		left, _ := n["left"].(ast.Node)
		right, _ := n["right"].(ast.Node)
		return carriesFrom(left) || carriesFrom(right)
	case "PIVOT": // UNPIVOT keeps the columns that it does not name
		source, _ := n["source"].(ast.Node)
		return carriesFrom(source) && !hasStar(n["pivots"])
	case "SUBQUERY":
		sub, _ := n["subquery"].(ast.Node)
		node, _ := sub["node"].(ast.Node)
		list, _ := node["select_list"].([]any)
		return slices.ContainsFunc(list, plainStar) && carries(node)
	}
	return false
}

func plainStar(v any) bool {
	n, _ := v.(ast.Node)
	only, _ := n["columns"].(bool)
	return ast.Str(n, "class") == "STAR" && !only && n["expr"] == nil
}

func hasStar(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, hasStar)
	case ast.Node:
		if ast.Str(v, "class") == "STAR" {
			return true
		}
		for _, e := range v {
			if hasStar(e) {
				return true
			}
		}
	}
	return false
}
