package v1

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScheduleNext(t *testing.T) {
	for _, tt := range []struct{ schedule, after, want string }{
		{"* * * * *", "2026-11-20T08:00:00Z", "2026-11-20T08:01:00Z"},
		{"* * * * *", "2026-11-20T08:00:59.9Z", "2026-11-20T08:01:00Z"},
		{"*/5 * * * *", "2026-11-20T08:00:00Z", "2026-11-20T08:05:00Z"},
		{"*/5 * * * *", "2026-11-20T08:57:00Z", "2026-11-20T09:00:00Z"},
		{"*/25 * * * *", "2026-11-20T08:51:00Z", "2026-11-20T09:00:00Z"},
		{"30 6 * * *", "2026-12-31T06:30:00Z", "2027-01-01T06:30:00Z"},
		{"0 0 1 * *", "2026-11-20T08:00:00Z", "2026-12-01T00:00:00Z"},
		{"0 0 31 * *", "2026-11-20T08:00:00Z", "2026-12-31T00:00:00Z"},
		{"0 0 29 2 *", "2026-11-20T08:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 9 * * MON-FRI", "2026-11-20T09:00:00Z", "2026-11-23T09:00:00Z"},
		{"0 9 * * sun", "2026-11-20T09:00:00Z", "2026-11-22T09:00:00Z"},
		{"0 9 * * 7", "2026-11-20T09:00:00Z", "2026-11-22T09:00:00Z"},
		{"0 0 13 * 5", "2026-11-20T08:00:00Z", "2026-11-27T00:00:00Z"},   // either day
		{"0 0 */2 * 5", "2026-11-20T08:00:00Z", "2026-11-27T00:00:00Z"},  // both days, for one begins with *
		{"0 0 13 * */5", "2026-11-20T08:00:00Z", "2026-12-13T00:00:00Z"}, // Sunday or Friday the 13th
		{"15,45 8-10/2 * JAN,jul *", "2026-11-20T08:00:00Z", "2027-01-01T08:15:00Z"},
		{"15,45 8-10/2 * JAN,jul *", "2027-01-01T08:45:00Z", "2027-01-01T10:15:00Z"},
		{"0 12 * * *", "2026-11-20T13:30:00+02:00", "2026-11-20T12:00:00Z"}, // times are UTC
	} {
		s, err := ParseSchedule(tt.schedule)
		if err != nil {
			t.Errorf("%s: %v", tt.schedule, err)
			continue
		}
		after, err := time.Parse(time.RFC3339Nano, tt.after)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(after).Format(time.RFC3339Nano); got != tt.want {
			t.Errorf("%s after %s: %s, want %s", tt.schedule, tt.after, got, tt.want)
		}
	}
	if !(Schedule{}).Next(time.Now()).IsZero() || !(Schedule{}).IsZero() {
		t.Error("the zero schedule has minutes")
	}
}

func TestScheduleFaults(t *testing.T) {
	for in, want := range map[string]string{
		"": "five fields", "* * * *": "five fields", "* * * * * *": "five fields", "@daily": "five fields",
		"60 * * * *": `minute "60" is none from 0 to 59`, "* 24 * * *": "hour", "* * 0 * *": "day of the month", "* * * 13 *": "month", "* * * * 8": "day of the week",
		"-1 * * * *": "minute", "1.5 * * * *": "minute", "5/10 * * * *": "step behind a single value", "*/0 * * * *": "step", "*/60 * * * *": "step", "*/ * * * *": "step",
		"9-5 * * * *": "ends before it begins", "1,,2 * * * *": "minute", "? * * * *": "minute", "* * L * *": "day of the month", "* * * FOO *": "month",
		"0 0 30 2 *": "never comes", "0 0 31 4,6,9,11 *": "never comes", "٣ * * * *": "minute", "001 * * * *": "minute",
	} {
		if _, err := ParseSchedule(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

// Next gives the first minute that a plain reading of the five sets allows, and only growing ones.
func TestScheduleNextIsTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(t, name) }
		s, err := ParseSchedule(field("minute", "*", "*/7", "0", "3,50-55") + " " + field("hour", "*", "0", "23", "*/5") + " " +
			field("day", "*", "1", "*/2", "28-31") + " " + field("month", "*", "1", "JAN,MAR-JUN") + " " + field("weekday", "*", "0", "MON-WED", "7"))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "after"), 0).UTC()
		next := s.Next(at)
		if !next.After(at) || !s.matches(next) || next.Second() != 0 {
			t.Fatalf("%s after %s: %s", s, at, next)
		}
		for m := at.Truncate(time.Minute).Add(time.Minute); m.Before(next) && m.Before(at.Add(48*time.Hour)); m = m.Add(time.Minute) {
			if s.matches(m) {
				t.Fatalf("%s after %s: %s passes over %s", s, at, next, m)
			}
		}
	})
}

func (s Schedule) matches(t time.Time) bool {
	return s.hasDay(t) && s.hour&(1<<t.Hour()) != 0 && s.minute&(1<<t.Minute()) != 0
}

// What parses has a next minute and reads back from its text as itself.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"* * * * *", "*/5 6-22 * JAN-MAR,12 MON-FRI", "0 0 29 2 *", "0 0 30 2 *", "1,2,3-9/2 * * * 7", "5/10 * * * *", "@daily"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		again, err := ParseSchedule(s.String())
		if err != nil || again != s {
			t.Fatalf("%q, written %q, read as %+v, %v", text, s, again, err)
		}
		if next := s.Next(time.Unix(0, 0)); next.IsZero() || !s.matches(next) {
			t.Fatalf("%q: next is %s", text, next)
		}
	})
}
