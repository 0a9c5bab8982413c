package v1

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

func TestDuration(t *testing.T) {
	for in, want := range map[string]struct {
		d time.Duration
		s string
	}{
		"60s":                       {time.Minute, "1m"},
		"1h30m":                     {90 * time.Minute, "1h30m"},
		"168h":                      {168 * time.Hour, "168h"},
		"7d":                        {168 * time.Hour, "168h"},
		"2w":                        {336 * time.Hour, "336h"},
		"1d12h":                     {36 * time.Hour, "36h"},
		"500ms":                     {500 * time.Millisecond, "500ms"},
		"1.5h":                      {90 * time.Minute, "1h30m"},
		"0.000001ms":                {1, "0.000001ms"},
		"0s":                        {0, "0s"},
		"2562047h47m16854.775807ms": {math.MaxInt64 / 1e9 * 1e9, ""},
	} {
		var d Duration
		err := d.UnmarshalText([]byte(in))
		if want.s == "" {
			if err != nil {
				t.Errorf("%s: %v", in, err)
			}
			continue
		}
		if err != nil || time.Duration(d) != want.d || d.String() != want.s {
			t.Errorf("%s = %v (%s), %v", in, time.Duration(d), d, err)
		}
	}
	for in, want := range map[string]string{
		"": "a number is missing", "h": "a number is missing", " 1h": "a number is missing", "60": "the unit is missing", "-5s": "it is negative",
		"5 s s": `the unit "s s" is unknown`, "1H": `the unit "H" is unknown`, "1min": `the unit "min" is unknown`, "1us": `the unit "us" is unknown`,
		"1..5s": "the number is malformed", "1.s": "the number is malformed", ".5s": "a number is missing", "0.0000001ms": "it is too fine a fraction",
		"99999999999999h": "it is too large", "106751d106751d": "it is too long", strings.Repeat("9", 60) + "s": "the number is too long",
		"1e3s": `the unit "e" is unknown`, "٣s": "a number is missing", "1h 30m": `the unit "h " is unknown`,
	} {
		d := Duration(7)
		err := d.UnmarshalText([]byte(in))
		if err == nil || !strings.Contains(err.Error(), "is not a duration: "+want) || tarn.CodeOf(err) != tarn.CodeInvalid || d != 7 {
			t.Errorf("%q = %v, %v; want %s", in, d, err, want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for in, want := range map[string]struct {
		n int64
		s string
	}{
		"0": {0, "0B"}, "1": {1, "1B"}, "1023": {1023, "1023B"}, "1024": {1024, "1KiB"}, "1000": {1000, "1KB"}, "128MiB": {128 << 20, "128MiB"},
		"128 MiB": {128 << 20, "128MiB"}, "1GB": {1e9, "1GB"}, "1.5GiB": {3 << 29, "1536MiB"}, "0.5KB": {500, "500B"}, "8388607TiB": {8388607 << 40, "8388607TiB"},
		"12B": {12, "12B"}, "007KB": {7000, "7KB"},
	} {
		var b ByteSize
		if err := b.UnmarshalText([]byte(in)); err != nil || int64(b) != want.n || b.String() != want.s {
			t.Errorf("%s = %d (%s), %v", in, int64(b), b, err)
		}
	}
	for in, want := range map[string]string{
		"": "a number is missing", "MiB": "a number is missing", "-1MiB": "it is negative", "128M": `the unit "M" is unknown; write 128MiB, or 128MB`,
		"128mb": "write 128MiB, or 128MB", "1Ki": "write 1KiB, or 1KB", "1XB": "the units are B, KB", "1MiB2": "there is more than one",
		"1.3KiB": "it is too fine a fraction", "8388608TiB": "it is too large", "1.2.3KB": "the number is malformed", "1  MiB": `the unit " MiB" is unknown`,
		"∞": "a number is missing", "1e3": "there is more than one",
	} {
		b := ByteSize(7)
		err := b.UnmarshalText([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) || tarn.CodeOf(err) != tarn.CodeInvalid || b != 7 {
			t.Errorf("%q = %v, %v; want %s", in, b, err, want)
		}
	}
}

// What parses is not negative and reads back from its text as itself.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"60s", "1h30m", "1.5h", "7d", "0.000001ms", "-1s", "9223372036854.775807s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d, e Duration
		if d.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := e.UnmarshalText([]byte(d.String())); err != nil || d != e || d < 0 {
			t.Fatalf("%q = %d, written %q, read as %d, %v", s, d, d, e, err)
		}
	})
}

// What parses is not negative and reads back from its text as itself.
func FuzzByteSize(f *testing.F) {
	for _, s := range []string{"128MiB", "1GB", "1.5 GiB", "12", "-1B", "9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b, c ByteSize
		if b.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := c.UnmarshalText([]byte(b.String())); err != nil || b != c || b < 0 {
			t.Fatalf("%q = %d, written %q, read as %d, %v", s, b, b, c, err)
		}
	})
}
