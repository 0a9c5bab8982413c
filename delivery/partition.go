package delivery

import (
	"fmt"

	"github.com/tarn-data/tarn"
)

// part is the SQL expression of one partition field.
type part struct {
	expr string
	text bool // its values are texts of any length and content, which folder names can not be
}

// folder is the expression DuckDB names the folder of a partition by.
func (p part) folder() string {
	if p.text {
		return "md5(" + p.expr + ")"
	}
	return p.expr
}

// partitionExpr returns the SQL expression that computes the value Iceberg stores for a partition
// field: hours, days, months or years since 1970, a bucket number, or a (truncated) column value.
// Source: Iceberg table specification, partition transforms.
func partitionExpr(p tarn.PartitionField, t tarn.Type) (string, error) {
	col := tarn.QuoteIdent(p.Source)
	switch p.Transform {
	case tarn.Identity:
		return col, nil
	case tarn.Year, tarn.Month, tarn.Day, tarn.Hour:
		return timeExpr(p, t, col)
	case tarn.Truncate:
		switch t.Kind {
		case tarn.Int, tarn.Long:
			return fmt.Sprintf("(%[1]s - (((%[1]s %% %[2]d) + %[2]d) %% %[2]d))", col, p.Param), nil
		case tarn.String:
			return fmt.Sprintf("left(%s, %d)", col, p.Param), nil
		}
	case tarn.Bucket:
		switch t.Kind {
		case tarn.Int, tarn.Long, tarn.Date:
			return fmt.Sprintf("iceberg_bucket_long(%s, %d)", epochOf(t, col), p.Param), nil
		case tarn.Timestamp, tarn.TimestampTZ:
			return fmt.Sprintf("iceberg_bucket_long(epoch_us(%s), %d)", col, p.Param), nil
		case tarn.String:
			return fmt.Sprintf("iceberg_bucket_text(%s, %d)", col, p.Param), nil
		}
	}
	return "", &tarn.Error{Code: tarn.CodeInvalid,
		Detail: fmt.Sprintf("partition %s does not work on a column of type %s", p, t),
		Hint:   "year, month, day and hour take a DATE or TIMESTAMP; truncate takes a string or an integer; bucket takes a string, an integer, a date or a timestamp"}
}

func epochOf(t tarn.Type, col string) string {
	if t.Kind == tarn.Date {
		return fmt.Sprintf("datediff('day', DATE '1970-01-01', %s)", col)
	}
	return col + "::BIGINT"
}

// timeExpr works on the microseconds since 1970, which costs the same for both timestamp types;
// date_trunc on a TIMESTAMP WITH TIME ZONE goes through the calendar and is several times slower.
func timeExpr(p tarn.PartitionField, t tarn.Type, col string) (string, error) {
	switch t.Kind {
	case tarn.Date, tarn.Timestamp, tarn.TimestampTZ:
	default:
		return "", &tarn.Error{Code: tarn.CodeInvalid,
			Detail: fmt.Sprintf("partition %s needs a DATE or TIMESTAMP column, but %q is %s", p, p.Source, t),
			Hint:   "make one in the transform, for example SELECT *, make_timestamp(time * 1000) AS ts FROM records"}
	}
	const hour = 3_600_000_000
	floor := func(us int64) string {
		return fmt.Sprintf("((epoch_us(%[1]s) - (((epoch_us(%[1]s) %% %[2]d) + %[2]d) %% %[2]d)) // %[2]d)", col, us)
	}
	switch p.Transform {
	case tarn.Hour:
		if t.Kind == tarn.Date {
			return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("partition %s: a DATE has no hours", p), Hint: "use day(" + p.Source + ")"}
		}
		return floor(hour), nil
	case tarn.Day:
		return floor(24 * hour), nil
	}
	utc := col
	if t.Kind == tarn.TimestampTZ {
		utc = fmt.Sprintf("make_timestamp(epoch_us(%s))", col)
	}
	return fmt.Sprintf("datediff('%s', TIMESTAMP '1970-01-01', %s)", p.Transform, utc), nil
}
