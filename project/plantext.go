package project

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// judge says what the change of one property means and whether it can lose or strand data.
func judge(kind, path, from, to string, had, has bool) (note string, unsafe bool) {
	switch kind + " " + path {
	case "settings engines.stream", "settings engines.metadata", "settings engines.lake":
		return "what is stored is not moved to the new place", true
	case "settings server.listen":
		return nextStart, false
	case "stream shards":
		if number(to) < number(from) {
			return "undelivered records in the shards that go are not delivered", true
		}
		return "keys move to other shards: their order across the change is not kept", false
	case "stream partition_key":
		return "keys move to other shards: their order across the change is not kept", false
	case "stream records":
		return "records of the old kind are still in the stream", true
	case "stream retention":
		if duration(to) < duration(from) {
			return "older records are deleted from the stream", true
		}
	case "stream max_bytes":
		if has && (!had || size(to) < size(from)) {
			return "the oldest records over it are deleted from the stream", true
		}
	case "pipeline stream":
		return "records of the old stream that are undelivered stay behind", true
	case "pipeline schema":
		return "columns that differ from those so far follow on_schema_change", false
	case "stream raw_backup":
		if !has {
			return "what was kept so far stays", false
		}
	case "pipeline deliver":
		return "", false // the tables and deliveries say it
	case "table stream", "delivery stream":
		return "it is fed from the beginning of the other stream", true
	case "extract from":
		return "the new stream is read from its beginning", true
	case "extract to.stream", "extract to.twin", "extract to.table":
		return "what went to the old place stays there", true
	case "extract sql":
		return "rows delivered so far stay as they are", false
	case "delivery database.url", "delivery database.table":
		return "rows delivered so far are not moved to the new place", true
	case "table partition_by":
		return "files written so far keep their division, and an existing table cannot change it yet", true
	case "table maintenance.snapshot_age":
		if duration(to) < duration(from) {
			return "time travel reaches less far back", true
		}
	case "table maintenance.snapshot_count":
		if number(to) < number(from) {
			return "fewer snapshots stay", false
		}
	}
	switch {
	case strings.HasPrefix(path, "zones.") && has && (!had || zoneKeeps(to) < zoneKeeps(from)):
		return "objects beyond it are deleted", true
	case strings.HasPrefix(path, "version of "):
		return "it restarts with that version", false
	case strings.HasPrefix(path, "limits."), strings.HasPrefix(path, "auth."):
		return nextStart, false
	case strings.HasPrefix(path, "schema."):
		return judgeColumn(from, to, had, has)
	case strings.HasPrefix(path, "transform["):
		return "rows delivered so far stay as they are", false
	}
	return "", false
}

// judgeColumn judges a declared column.
func judgeColumn(from, to string, had, has bool) (note string, unsafe bool) {
	from, wasRequired := strings.CutSuffix(from, " required")
	to, isRequired := strings.CutSuffix(to, " required")
	switch {
	case !had && isRequired:
		return "records without it become failed records", true
	case !had:
		return "", false
	case !has:
		return "its values are no longer read", true
	case from != to && !widens(from, to):
		return "values of the old type may not fit: their records become failed records", true
	case isRequired && !wasRequired:
		return "records without it become failed records", true
	}
	return "", false
}

// widens reports whether every value of the one type is a value of the other.
func widens(from, to string) bool {
	a, err1 := tarn.ParseType(from)
	b, err2 := tarn.ParseType(to)
	if err1 != nil || err2 != nil {
		return false
	}
	switch {
	case a.Kind == tarn.Decimal && b.Kind == tarn.Decimal:
		return a.Scale == b.Scale && a.Precision <= b.Precision
	case a.Kind == tarn.Int:
		return b.Kind == tarn.Long || b.Kind == tarn.Double
	case a.Kind == tarn.Long, a.Kind == tarn.Float:
		return b.Kind == tarn.Double
	}
	return false
}

// zoneKeeps makes a rule of a zone, a duration or a count, comparable.
func zoneKeeps(s string) int64 { return max(int64(duration(s)), int64(number(s))) }

func number(s string) int { n, _ := strconv.Atoi(s); return n }

func duration(s string) v1.Duration {
	var d v1.Duration
	_ = d.UnmarshalText([]byte(s)) // written by String
	return d
}

func size(s string) v1.ByteSize {
	var b v1.ByteSize
	_ = b.UnmarshalText([]byte(s)) // written by String
	return b
}

var mark = map[Action]string{Create: "+", Update: "~", Leave: "=", Remove: "-"}

// String returns the plan for people: a line for each thing, a line under it for each property
// that changes, and a summary. Unsafe lines begin with an exclamation mark.
func (c Changes) String() string {
	var b strings.Builder
	width := 0
	for _, ch := range c {
		width = max(width, len(ch.Name))
	}
	for _, ch := range c {
		line := fmt.Sprintf("%s %-6s  %-8s  %-*s", mark[ch.Action], ch.Action, ch.Kind, width, ch.Name)
		if ch.Note != "" {
			line += "  " + unsafeWord(ch.Unsafe) + ch.Note
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		for _, f := range ch.Fields {
			from, to := shown(f.From, f.To)
			line := fmt.Sprintf("  %s   %s: %s → %s", map[bool]string{true: "!", false: " "}[f.Unsafe], f.Path, from, to)
			if f.Note != "" {
				line += "  (" + unsafeWord(f.Unsafe) + f.Note + ")"
			}
			b.WriteString(line + "\n")
		}
	}
	fmt.Fprintf(&b, "\n%d to create, %d to change, %d to leave, %d to remove", c.Count(Create), c.Count(Update), c.Count(Leave), c.Count(Remove))
	if n := len(c.Unsafe()); n > 0 {
		fmt.Fprintf(&b, "; %d unsafe", n)
	}
	return b.String() + "\n"
}

func unsafeWord(unsafe bool) string {
	if unsafe {
		return "unsafe: "
	}
	return ""
}

const (
	shownRunes  = 60 // of a value
	shownBefore = 20 // of those, before the place where two long values begin to differ
)

// shown returns two values, each on one line of a bearable length that holds the place where they
// begin to differ.
func shown(from, to string) (string, string) {
	a, b := []rune(strings.Join(strings.Fields(from), " ")), []rune(strings.Join(strings.Fields(to), " "))
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	start := 0
	if same > shownRunes-shownBefore {
		start = same - shownBefore
	}
	return excerpt(a, start), excerpt(b, start)
}

// excerpt returns the part of a value from start on, or all of a short one.
func excerpt(value []rune, start int) string {
	if len(value) <= shownRunes {
		return cmp.Or(string(value), "none")
	}
	start = min(start, len(value)-shownRunes)
	s := string(value[start : start+shownRunes])
	if start > 0 {
		s = "…" + s
	}
	if start+shownRunes < len(value) {
		s += "…"
	}
	return s
}
