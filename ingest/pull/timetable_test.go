package pull

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/project"
	v1 "github.com/tarn-data/tarn/project/v1"
)

func at(clock string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", "2026-11-20 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

func cron(t testing.TB, text string) Timetable {
	t.Helper()
	s, err := v1.ParseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	return Timetable{Schedule: s}
}

func TestDecide(t *testing.T) {
	five, ten := cron(t, "*/5 * * * *"), Timetable{Every: 10 * time.Second}
	for name, c := range map[string]struct {
		table              Timetable
		last, awaited, now string
		catchUp            CatchUp
		slot, mark         string
		skipped            int64
	}{
		"nothing yet":            {five, "03:00:00", "", "03:04:59", project.CatchUpOne, "", "", 0},
		"on time":                {five, "03:00:00", "", "03:05:00", project.CatchUpOne, "03:05:00", "03:05:00", 0},
		"one of several":         {five, "03:00:00", "", "03:17:00", project.CatchUpOne, "03:15:00", "03:15:00", 2},
		"all of several":         {five, "03:00:00", "", "03:17:00", project.CatchUpAll, "03:05:00", "03:05:00", 0},
		"none, awaited":          {five, "03:00:00", "03:05:00", "03:05:00", project.CatchUpNone, "03:05:00", "03:05:00", 0},
		"none, missed":           {five, "03:00:00", "", "03:05:00", project.CatchUpNone, "", "03:05:00", 1},
		"none, awaited too long": {five, "03:00:00", "03:05:00", "03:17:00", project.CatchUpNone, "", "03:15:00", 3},
		"backwards":              {five, "03:00:00", "", "01:00:00", project.CatchUpAll, "", "", 0},
		"every, one":             {ten, "03:00:00", "", "03:00:35", project.CatchUpOne, "03:00:30", "03:00:30", 2},
		"every, all":             {ten, "03:00:01", "", "03:00:35", project.CatchUpAll, "03:00:10", "03:00:10", 0},
	} {
		t.Run(name, func(t *testing.T) {
			moment := func(s string) time.Time {
				if s == "" {
					return time.Time{}
				}
				return at(s)
			}
			got := c.table.decide(at(c.last), moment(c.awaited), at(c.now), c.catchUp)
			if want := (decision{moment(c.slot), moment(c.mark), c.skipped}); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestCatchUpIsBounded: of a long absence the newest slots run.
func TestCatchUpIsBounded(t *testing.T) {
	minutes := cron(t, "* * * * *")
	now := at("12:00:00")
	d := minutes.decide(now.Add(-(maxCatchUp+5)*time.Minute), time.Time{}, now, project.CatchUpAll)
	if d.skipped != 5 || !d.slot.Equal(now.Add(-(maxCatchUp-1)*time.Minute)) {
		t.Errorf("%v", d)
	}
	d = minutes.decide(time.Time{}, time.Time{}, now, project.CatchUpOne) // does not count from the year 1
	if !d.slot.Equal(now) {
		t.Errorf("%v", d)
	}
}

// TestDue compares the count of slots with going through them.
func TestDue(t *testing.T) {
	tables := []Timetable{{Every: time.Second}, {Every: 7 * time.Second}, {Every: 24 * time.Hour}, cron(t, "*/7 * * * *"), cron(t, "30 2 * * 1")}
	rapid.Check(t, func(rt *rapid.T) {
		table := rapid.SampledFrom(tables).Draw(rt, "table")
		after := at("00:00:00").Add(time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(rt, "after")))
		until := after.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(3*time.Hour)).Draw(rt, "span")))
		var n int64
		var last time.Time
		for slot := table.next(after); !slot.After(until); slot = table.next(slot) {
			if !slot.After(after) || !slot.After(last) {
				rt.Fatalf("%s after %s", slot, last)
			}
			if n++; !table.nth(after, n).Equal(slot) {
				rt.Fatalf("slot %d is %s, not %s", n, slot, table.nth(after, n))
			}
			last = slot
		}
		if gotN, got := table.due(after, until); gotN != n || n > 0 && !got.Equal(last) {
			rt.Fatalf("%d slots, the last %s; want %d, %s", gotN, got, n, last)
		}
	})
}
