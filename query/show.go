package query

import (
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

// cutExplain takes EXPLAIN [ANALYZE] off the front and returns the rest at its old place: blanks
// stand for what was cut, so that positions stay right.
func (st *statement) cutExplain(sql string) string {
	rest := skipBlank(sql)
	after, ok := keyword(rest, "EXPLAIN")
	if !ok {
		return sql
	}
	st.explain = "EXPLAIN "
	if a, ok := keyword(skipBlank(after), "ANALYZE"); ok {
		st.explain, after = "EXPLAIN ANALYZE ", a
	}
	cut := []byte(sql[:len(sql)-len(after)])
	for i, c := range cut {
		if c != '\n' {
			cut[i] = ' '
		}
	}
	return string(cut) + after
}

func keyword(s, word string) (rest string, ok bool) {
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return s, false
	}
	if rest = s[len(word):]; rest != "" && (rest[0] == '_' || rest[0] >= '0' && rest[0] <= '9' || rest[0]|0x20 >= 'a' && rest[0]|0x20 <= 'z' || rest[0] >= 0x80) {
		return s, false
	}
	return rest, true
}

// skipBlank returns s without leading blanks and comments.
func skipBlank(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n\f\v")
		switch {
		case strings.HasPrefix(s, "--"):
			_, after, ok := strings.Cut(s, "\n")
			if !ok {
				return ""
			}
			s = after
		case strings.HasPrefix(s, "/*"):
			_, after, ok := strings.Cut(s[2:], "*/")
			if !ok {
				return s
			}
			s = after
		default:
			return s
		}
	}
}

// showTables recognizes SHOW [ALL] TABLES, SHOW TABLES FROM and a bare DESCRIBE.
func (st *statement) showTables(t *ast.Tree) (bool, error) {
	from, _ := t.Query()["from_table"].(ast.Node)
	if ast.Str(from, "type") != "SHOW_REF" || from["query"] != nil || st.explain != "" {
		return false, nil
	}
	what := strings.Trim(ast.Str(from, "table_name"), `"`)
	switch {
	case ast.Str(from, "show_type") == "SHOW_FROM":
		st.refs = []ref{{schema: ast.Str(from, "schema_name")}}
		return true, nil
	case what == "tables", what == "__show_tables_expanded":
		return true, nil
	}
	return false, forbidden("SHOW " + strings.ToUpper(what) + " is not allowed; SHOW TABLES and DESCRIBE are")
}

func (c *cutter) showRef(n ast.Node) error {
	if n["query"] == nil {
		return forbidden("SHOW can not stand inside another query")
	}
	switch ast.Str(n, "show_type") {
	case "DESCRIBE", "SUMMARY":
		return nil
	}
	return &tarn.Error{Code: tarn.CodeForbidden, Detail: "only SHOW TABLES, DESCRIBE and SUMMARIZE are allowed"}
}
