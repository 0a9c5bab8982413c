package twin

import (
	"strconv"
	"time"
)

// ETag names a value and where it comes from; it is a weak entity tag of RFC 9110 without its age.
func (m *Metric) ETag() string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 40)
	b = append(b, `W/"`...)
	for _, n := range [...]uint64{uint64(m.At.UnixMicro()), m.Position.Offset, m.hash} {
		for shift := 60; shift >= 0; shift -= 4 {
			if d := n >> shift & 15; d != 0 || shift == 0 || n>>shift != 0 {
				b = append(b, digits[d])
			}
		}
		b = append(b, '-')
	}
	if m.Unknown {
		b = append(b, "u-"...)
	}
	b[len(b)-1] = '"'
	return string(b)
}

// ETag names a component and all its values.
func (c *Component) ETag() string {
	h := uint64(14695981039346656037) // FNV-1a over the values
	for i := range c.Metrics {
		m := &c.Metrics[i]
		for _, n := range [...]uint64{uint64(m.At.UnixMicro()), m.Position.Offset, m.hash} {
			h = (h ^ n) * 1099511628211
		}
		if m.Unknown {
			h = (h ^ 1) * 1099511628211
		}
	}
	return `W/"` + strconv.FormatUint(h, 16) + "-" + strconv.Itoa(len(c.Metrics)) + `"`
}

// AppendJSON appends a value as the HTTP interface shows it: with its unit, time, age in seconds at
// now, and lineage.
func (m *Metric) AppendJSON(b []byte, now time.Time) []byte {
	b = append(b, `{"component":`...)
	b = appendString(b, m.Component)
	b = appendLabel(b, `,"type":`, m.Type)
	b = append(b, `,"metric":`...)
	b = appendString(b, m.Metric)
	b = append(b, `,"value":`...)
	b = m.Value.AppendJSON(b)
	b = append(b, `,"kind":"`...)
	b = append(b, m.Value.kind.String()...)
	b = append(b, '"')
	b = appendLabel(b, `,"unit":`, m.Unit)
	b = append(b, `,"at":"`...)
	b = m.At.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","age_seconds":`...)
	b = appendNumber(b, AgeSeconds(m.At, now))
	if m.Unknown {
		b = append(b, `,"unknown":true`...)
	}
	b = append(b, `,"lineage":{`...)
	start := len(b)
	b = appendLabel(b, `,"pipeline":`, m.Pipeline)
	b = appendLabel(b, `,"source":`, m.Source)
	if m.Position.Stream != "" {
		b = appendLabel(b, `,"stream":`, m.Position.Stream)
		b = append(b, `,"position":"`...)
		b = strconv.AppendInt(b, int64(m.Position.Shard), 10)
		b = append(b, ':')
		b = strconv.AppendUint(b, m.Position.Offset, 10)
		b = append(b, '"')
	}
	if len(b) > start { // no comma before the first
		b = append(b[:start], b[start+1:]...)
	}
	return append(b, '}', '}')
}

// appendLabel appends a member unless its text is empty.
func appendLabel(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendString(append(b, name...), text)
}

// AgeSeconds is how old a value is, in whole milliseconds; negative for a time that has not come.
func AgeSeconds(at, now time.Time) float64 { return float64(now.Sub(at).Milliseconds()) / 1000 }
