package v1

import (
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// Schedule is a set of minutes in UTC, written as the five fields of crontab(5): minute, hour, day
// of the month, month, day of the week. A field is *, a number, a range a-b, either of the last two
// or * with /STEP behind it, or a list of these with commas. Months and weekdays may be named (JAN,
// MON); Sunday is 0 or 7. Where neither day field begins with *, a day of either one counts. The
// zero Schedule has no minutes.
type Schedule struct {
	text          string
	minute, hour  uint64 // bit n is set for the value n
	day, month    uint64
	weekday       uint64
	eitherDayDoes bool
}

// field is one of the five.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var scheduleFields = []field{
	{name: "minute", min: 0, max: 59},
	{name: "hour", min: 0, max: 23},
	{name: "day of the month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	{name: "day of the week", min: 0, max: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
}

const scheduleHint = `write the minute, hour, day of the month, month and day of the week, such as "*/5 * * * *"`

// ParseSchedule reads the five fields. It refuses, with CodeInvalid, what never comes, such as the
// 30th of February.
func ParseSchedule(text string) (Schedule, error) {
	parts := strings.Fields(text)
	if len(parts) != len(scheduleFields) || len(text) > 256 {
		return Schedule{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(text) + " is not a schedule of five fields", Hint: scheduleHint}
	}
	var sets [5]uint64
	for i, part := range parts {
		set, why := scheduleFields[i].parse(part)
		if why != "" {
			return Schedule{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the " + scheduleFields[i].name + " " + quote(part) + " " + why, Hint: scheduleHint}
		}
		sets[i] = set
	}
	if sets[4]&(1<<7) != 0 {
		sets[4] = sets[4]&^(1<<7) | 1
	}
	s := Schedule{text: strings.Join(parts, " "), minute: sets[0], hour: sets[1], day: sets[2], month: sets[3], weekday: sets[4],
		eitherDayDoes: !strings.HasPrefix(parts[2], "*") && !strings.HasPrefix(parts[4], "*")}
	if s.Next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(text) + " names a day that never comes", Hint: scheduleHint}
	}
	return s, nil
}

// parse returns the set of one field, or what is wrong with it.
func (f field) parse(text string) (set uint64, why string) {
	for part := range strings.SplitSeq(text, ",") {
		span, step, hasStep := strings.Cut(part, "/")
		first, last, ok := f.span(span)
		if !ok {
			return 0, "is none from " + strconv.Itoa(f.min) + " to " + strconv.Itoa(f.max)
		}
		by := 1
		if hasStep {
			if span != "*" && !strings.Contains(span, "-") {
				return 0, "has a step behind a single value"
			}
			if by, ok = plainNumber(step); !ok || by < 1 || by > f.max {
				return 0, "has a step that is none from 1 to " + strconv.Itoa(f.max)
			}
		}
		if first > last {
			return 0, "is a range that ends before it begins"
		}
		for n := first; n <= last; n += by {
			set |= 1 << n
		}
	}
	return set, ""
}

// span reads *, a value or a range of two.
func (f field) span(text string) (first, last int, ok bool) {
	if text == "*" {
		if f.max == 7 { // Sunday once
			return 0, 6, true
		}
		return f.min, f.max, true
	}
	a, b, isRange := strings.Cut(text, "-")
	if first, ok = f.value(a); !ok || !isRange {
		return first, first, ok
	}
	last, ok = f.value(b)
	return first, last, ok
}

func (f field) value(text string) (int, bool) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.min + i, true
		}
	}
	n, ok := plainNumber(text)
	return n, ok && n >= f.min && n <= f.max
}

// plainNumber reads one or two digits.
func plainNumber(text string) (int, bool) {
	if text == "" || len(text) > 2 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// horizonDays is how far the next day can be away: the 29th of February, over 2100, which has none.
const horizonDays = 8*366 + 1

// Next returns the first minute of the schedule after t, in UTC. It is the zero time for the zero
// Schedule only.
func (s Schedule) Next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	hour, minute := t.Hour(), t.Minute() // not before these on the first day
	for range horizonDays {
		if s.hasDay(day) {
			if h, m, ok := s.timeFrom(hour, minute); ok {
				return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute)
			}
		}
		day, hour, minute = day.AddDate(0, 0, 1), 0, 0
	}
	return time.Time{}
}

func (s Schedule) hasDay(t time.Time) bool {
	inMonth, inWeek := s.day&(1<<t.Day()) != 0, s.weekday&(1<<t.Weekday()) != 0
	if s.month&(1<<t.Month()) == 0 {
		return false
	}
	if s.eitherDayDoes {
		return inMonth || inWeek
	}
	return inMonth && inWeek
}

// timeFrom returns the first hour and minute of a day that are not before the given ones.
func (s Schedule) timeFrom(hour, minute int) (h, m int, ok bool) {
	if s.minute == 0 || s.hour == 0 {
		return 0, 0, false
	}
	if s.hour&(1<<hour) != 0 {
		if m, ok = firstFrom(s.minute, minute); ok {
			return hour, m, true
		}
	}
	h, ok = firstFrom(s.hour, hour+1)
	m, _ = firstFrom(s.minute, 0)
	return h, m, ok
}

// firstFrom returns the lowest value of a set that is at least n.
func firstFrom(set uint64, n int) (int, bool) {
	set &= ^uint64(0) << n
	return bits.TrailingZeros64(set), set != 0
}

// IsZero reports whether no schedule was given.
func (s Schedule) IsZero() bool { return s.text == "" }

// String returns the five fields with one blank between them, "" for the zero Schedule.
func (s Schedule) String() string { return s.text }

// MarshalText implements encoding.TextMarshaler.
func (s Schedule) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler. An empty text, which MarshalText writes for
// the zero Schedule, is refused like any other that is not a schedule.
func (s *Schedule) UnmarshalText(b []byte) error {
	parsed, err := ParseSchedule(string(b))
	if err == nil {
		*s = parsed
	}
	return err
}
