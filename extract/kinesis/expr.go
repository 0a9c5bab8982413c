package kinesis

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// refusedWords have no translation wherever they stand.
var refusedWords = map[string]string{
	"OVER":                  "a sliding window gives a row for every record from those before it; write a hopping window",
	"CURSOR":                "functions over a whole stream are not translated",
	"TABLE":                 "functions over a whole stream are not translated",
	"CURRENT_TIMESTAMP":     "what a record gives must not depend on when it is read; use ROWTIME",
	"CURRENT_ROW_TIMESTAMP": "what a record gives must not depend on when it is read; use ROWTIME",
	"LOCALTIMESTAMP":        "what a record gives must not depend on when it is read; use ROWTIME",
	"CURRENT_DATE":          "what a record gives must not depend on when it is read; use ROWTIME",
	"CURRENT_TIME":          "what a record gives must not depend on when it is read; use ROWTIME",
	"SELECT":                "a query within a query is not translated; write a pump for it",
	"MONOTONIC":             "the order of a stream is not known to SQL; group by STEP or FLOOR",
}

// renamed are functions that have another name.
var renamed = map[string]string{"UNIX_TIMESTAMP": "epoch_ms", "CHAR_LENGTH": "length", "CHARACTER_LENGTH": "length", "CHAR_TO_TIMESTAMP": "", "TSDIFF": "", "INITCAP": "", "OVERLAY": ""}

// expr translates an expression.
func (t *translator) expr(list []token) string {
	if t.depth++; t.depth > 100 {
		t.depth--
		t.problem(list[0], list[0].text, "the expression is nested too deeply")
		return ""
	}
	defer func() { t.depth-- }()
	var out []string
	for i := 0; i < len(list); {
		s, n := t.term(list[i:])
		if n == 0 {
			n = 1
		}
		if s != "" {
			out = append(out, s)
		}
		i += n
	}
	return joined(out)
}

// joined puts blanks between words, and none around dots and parentheses.
func joined(parts []string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 && p != "," && p != ")" && p != "." && parts[i-1] != "(" && parts[i-1] != "." && (p != "(" || !endsName(parts[i-1])) {
			b.WriteByte(' ')
		}
		b.WriteString(p)
	}
	return b.String()
}

// endsName reports whether a part may be a function's name.
func endsName(s string) bool {
	return s != "" && isLetter(s[len(s)-1]) && !keywords[strings.ToUpper(s)]
}

var keywords = map[string]bool{"AND": true, "OR": true, "NOT": true, "IN": true, "WHEN": true, "THEN": true, "ELSE": true, "AS": true, "BETWEEN": true, "LIKE": true, "CASE": true, "IS": true}

// term translates what an expression begins with, and returns how many tokens that was.
func (t *translator) term(list []token) (string, int) {
	k := list[0]
	upper := strings.ToUpper(k.text)
	call := len(list) > 1 && list[1].is("(")
	switch {
	case k.kind == word && (upper == "STEP" || upper == "FLOOR" || upper == "CEIL") && call:
		return t.step(list)
	case k.kind == word && upper == "INTERVAL":
		if _, text, n, ok := interval(list); ok {
			return text, n
		}
		t.problem(k, "INTERVAL", "only one unit from SECOND to DAY is translated, as INTERVAL '60' SECOND")
		return "", 1
	case k.kind == word && refusedWords[upper] != "":
		t.problem(k, upper, refusedWords[upper])
		return "", 1
	case k.kind == word && call && strings.HasSuffix(upper, "_TUMBLING"), k.kind == word && call && (upper == "RANDOM_CUT_FOREST" || upper == "HOTSPOTS" || upper == "GROUP_RANK" || upper == "ANOMALY_DETECTION"):
		t.problem(k, upper, "functions over a whole stream are not translated")
		return "", 1
	case k.kind == word && call:
		to, known := renamed[upper]
		if known && to == "" {
			t.problem(k, upper, "the function is not translated; rewrite it with functions of DuckDB")
			return "", 1
		}
		if known {
			return to, 1
		}
		return k.text, 1
	case k.isName() && len(list) > 2 && list[1].is(".") && list[2].isName() && (k.name() == t.alias || k.name() == t.pump.source):
		return t.columnRef(list[2]), 3
	case k.kind == quoted:
		return t.columnRef(k), 1
	case k.kind == word && (upper == "ROWTIME" || upper == "APPROXIMATE_ARRIVAL_TIME"):
		return t.columnRef(k), 1
	}
	return k.text, 1
}

// columnRef translates the name of a column of the source.
func (t *translator) columnRef(k token) string {
	switch strings.ToUpper(k.text) {
	case "ROWTIME", "APPROXIMATE_ARRIVAL_TIME":
		if t.every != "" {
			return "window_end"
		}
		return t.rowtime()
	}
	if k.kind == word {
		return k.text
	}
	return tarn.QuoteIdent(k.text)
}

// units in seconds.
var units = map[string]int{"SECOND": 1, "SECONDS": 1, "MINUTE": 60, "MINUTES": 60, "HOUR": 3600, "HOURS": 3600, "DAY": 86400, "DAYS": 86400}

// interval reads INTERVAL '60' SECOND.
func interval(list []token) (seconds int, sql string, n int, ok bool) {
	if len(list) < 3 || !list[0].is("INTERVAL") || list[1].kind != text {
		return 0, "", 0, false
	}
	count, err := strconv.Atoi(strings.Trim(list[1].text, "'"))
	unit := units[strings.ToUpper(list[2].text)]
	if err != nil || unit == 0 || count <= 0 || count > 1<<30/unit {
		return 0, "", 0, false
	}
	n = 3
	if len(list) > 5 && list[3].is("(") && list[5].is(")") { // the precision, as in SECOND(3)
		n = 6
	}
	return count * unit, fmt.Sprintf("INTERVAL '%d seconds'", count*unit), n, true
}

// inside returns what stands between the parentheses that list[1] opens, and how many tokens there are up
// to the closing one.
func inside(list []token) ([]token, int, bool) {
	depth := 0
	for i := 1; i < len(list); i++ {
		switch {
		case list[i].is("("):
			depth++
		case list[i].is(")"):
			if depth--; depth == 0 {
				return list[2:i], i + 1, true
			}
		}
	}
	return nil, len(list), false
}

// stepped is STEP(… BY INTERVAL …) or FLOOR(… TO …): the expression, and the seconds.
func stepped(list []token) (arg []token, seconds, n int, ok bool) {
	body, n, closed := inside(list)
	if !closed {
		return nil, 0, n, false
	}
	for i, k := range body {
		switch {
		case list[0].is("STEP") && k.is("BY"):
			s, _, used, fine := interval(body[i+1:])
			return body[:i], s, n, fine && used == len(body)-i-1 && i > 0
		case list[0].is("FLOOR") && k.is("TO") && i > 0 && len(body) == i+2:
			s := units[strings.ToUpper(body[i+1].text)]
			return body[:i], s, n, s > 0
		}
	}
	return nil, 0, n, false
}

// step translates STEP, FLOOR and CEIL.
func (t *translator) step(list []token) (string, int) {
	arg, seconds, n, ok := stepped(list)
	switch {
	case !ok && list[0].is("STEP"):
		t.problem(list[0], "STEP", "it is translated as STEP(… BY INTERVAL '60' SECOND)")
		return "", n
	case !ok: // of a number, or to a month
		body, n, closed := inside(list)
		if !closed || len(body) == 0 {
			t.problem(list[0], list[0].text, "its parentheses do not close")
			return "", n
		}
		for _, k := range body {
			if k.is("TO") {
				t.problem(list[0], strings.ToUpper(list[0].text)+" … TO", "it is translated for FLOOR TO SECOND, MINUTE, HOUR and DAY")
				return "", n
			}
		}
		return strings.ToLower(list[0].text) + "(" + t.expr(body) + ")", n
	}
	if t.every != "" && fmt.Sprintf("%ds", seconds) == t.every && t.isTime(arg) {
		return "window_start", n
	}
	return fmt.Sprintf("time_bucket(INTERVAL '%d seconds', %s)", seconds, t.expr(arg)), n
}

// isTime reports whether an expression is ROWTIME, or the column that windows go by.
func (t *translator) isTime(arg []token) bool {
	name := arg[len(arg)-1].name()
	return len(arg) <= 3 && (strings.EqualFold(name, "ROWTIME") || strings.EqualFold(name, "APPROXIMATE_ARRIVAL_TIME") || strings.EqualFold(name, t.time))
}

// window finds the window of GROUP BY. Of a step of ROWTIME and one of another time the other counts: it
// is the time of the records.
func (t *translator) window(group []token) {
	for _, item := range splitCommas(group) {
		if len(item) < 2 || !item[0].is("STEP") && !item[0].is("FLOOR") || !item[1].is("(") {
			continue
		}
		arg, seconds, n, ok := stepped(item)
		if !ok || n != len(item) {
			continue // reported where it is translated
		}
		every := fmt.Sprintf("%ds", seconds)
		name := arg[len(arg)-1]
		column := name.name()
		switch strings.ToUpper(column) {
		case "ROWTIME", "APPROXIMATE_ARRIVAL_TIME":
			column = t.rowtime()
		}
		switch {
		case !name.isName() || len(arg) > 3:
			t.problem(item[0], item[0].text, "a window goes by a column; let a pump before this one compute it")
		case t.every == "" || t.every == every && t.time == t.rowtime():
			t.every, t.time = every, column
		case t.every != every:
			t.problem(item[0], item[0].text, "the query groups by two windows of different length")
		}
	}
}

// groups translates GROUP BY without the window.
func (t *translator) groups(group []token) []string {
	if len(group) == 0 {
		return nil
	}
	var by []string
	for _, item := range splitCommas(group) {
		if len(item) == 0 {
			t.problem(group[0], "GROUP BY", "an expression is empty")
			continue
		}
		if e := t.expr(item); e != "window_start" && e != "window_end" {
			by = append(by, e)
		}
	}
	return by
}
