package duck

import (
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// bound reads the text of a minimum or maximum as COPY returns it. It returns nil for what it does
// not surely understand: no bound is always right.
func bound(t tarn.Type, s *string) any {
	if s == nil {
		return nil
	}
	switch t.Kind {
	case tarn.Boolean:
		return parsed(strconv.ParseBool(*s))
	case tarn.Int, tarn.Long:
		return parsed(strconv.ParseInt(*s, 10, 64))
	case tarn.Float:
		return parsed(strconv.ParseFloat(*s, 32))
	case tarn.Double:
		return parsed(strconv.ParseFloat(*s, 64))
	case tarn.Decimal, tarn.String, tarn.JSON:
		return *s
	case tarn.Date:
		return parsed(time.Parse("2006-01-02", *s))
	case tarn.Timestamp, tarn.TimestampTZ:
		return parsed(time.Parse("2006-01-02 15:04:05.999999", strings.TrimSuffix(*s, "+00")))
	case tarn.Time:
		return *s
	}
	return nil
}

func parsed[T any](v T, err error) any {
	if err != nil {
		return nil
	}
	return v
}
