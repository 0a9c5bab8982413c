package extract

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/table"
)

// verdict is what is known of the records of a file.
type verdict struct {
	kept     segment // the records in time
	rows     int64   // all records
	late     []int64 // numbers of the rows that are late
	outcasts []outcast
}

// outcast is a late record that is to fail. Times are microseconds since 1970.
type outcast struct {
	at            tarn.Position
	us, arrivedUs int64
}

// take judges the records of a batch, and keeps those that are not late.
func (r *round) take(ctx context.Context, files []string) error {
	had := len(r.state.Segments)
	failed := failures{commit: r.commit}
	for _, file := range files {
		v, err := r.judge(ctx, file)
		if err != nil {
			return err
		}
		r.late += int64(len(v.late))
		for i := range v.outcasts {
			failed.add(r.lateRecord(ctx, &v.outcasts[i]))
		}
		if v.kept.Rows == 0 {
			continue
		}
		if len(v.late) > 0 {
			if file, err = r.copy(ctx, without(file, v.late)); err != nil {
				return err
			}
		}
		if err := r.keep(ctx, file, v.kept); err != nil {
			return err
		}
		r.due = min(r.due, v.kept.Min+r.o.Window.Gap.Microseconds())
	}
	news := r.state.Segments[had:]
	r.news = len(news)
	if len(news) == 0 || r.o.Window.UpdateFor == 0 || r.state.Closed == noTime {
		return nil
	}
	var err error
	r.affected, err = r.reopened(ctx, news)
	return err
}

// without is the SELECT of the rows of a file but for those of some numbers, which travel as one text: a
// list of constants takes the parser longer than the rows.
func without(file string, rows []int64) string {
	var list []byte
	for _, n := range rows {
		list = append(strconv.AppendInt(list, n, 10), ',')
	}
	return fmt.Sprintf("SELECT * EXCLUDE (file_row_number) FROM read_parquet(%s, hive_partitioning=false, file_row_number=true) WHERE file_row_number NOT IN (SELECT unnest(string_split('%s', ',')::BIGINT[]))",
		tarn.QuoteLiteral(file), list[:len(list)-1])
}

// judge reads the times of the records of a file in order, and moves the times of their shards.
func (r *round) judge(ctx context.Context, file string) (v verdict, err error) {
	res, err := r.db.Query(ctx, "SELECT record_shard::BIGINT, record_offset::BIGINT, "+timeColumn+"::BIGINT, epoch_us(record_arrival) FROM "+duck.ReadPlainParquet([]string{file}))
	if err != nil {
		return v, err
	}
	defer res.Close()
	v.kept = segment{Min: lastTime, Max: noTime}
	left := map[int]uint64{}
	for res.Next(ctx) {
		var cols [4][]int64
		for i := range cols {
			cols[i] = res.Batch().Column(i).(*array.Int64).Int64Values()
		}
		for i, us := range cols[2] {
			shard := int(cols[0][i])
			switch {
			case !r.isLate(shard, us):
				v.kept.Rows++
				v.kept.Min, v.kept.Max = min(v.kept.Min, us), max(v.kept.Max, us)
			case r.failsLate():
				v.late = append(v.late, v.rows)
				v.outcasts = append(v.outcasts, outcast{tarn.Position{Shard: shard, Offset: uint64(cols[1][i])}, us, cols[3][i]})
			default:
				v.late = append(v.late, v.rows)
				left[shard]++
			}
			v.rows++
		}
	}
	for shard, n := range left {
		r.leaveOut(shard, n)
	}
	return v, res.Err()
}

// isLate judges a record by those before it in its shard, whose time it moves; a failed record that is
// tried again only by what has been delivered.
func (r *round) isLate(shard int, us int64) bool {
	if r.retry != nil {
		return r.delivered(us)
	}
	newest, ok := r.state.Newest[shard]
	if !ok || us > newest {
		r.state.Newest[shard] = us
	}
	updated := r.state.Closed - r.o.Window.UpdateFor.Microseconds()
	switch {
	case r.state.Forgotten > updated && r.delivered(us): // update_for was shorter
		return true
	case r.o.Window.IdleAfter > 0 && r.state.Closed > noTime && us < updated: // windows may have gone on without its shard
		return true
	}
	return ok && us < newest-r.allowed()
}

// delivered reports whether windows of a time are delivered and stay as they are.
func (r *round) delivered(us int64) bool {
	w := r.o.Window
	switch {
	case r.state.Closed == noTime:
		return false
	case w.Gap > 0: // from here on no session that was delivered reaches
		return us < r.state.Closed
	}
	size, every := w.Size.Microseconds(), w.Every.Microseconds()
	return floorTo(us-size, every)+every+size <= r.final() // the end of the first window that holds it
}

// final is up to where the ends of windows lie whose results do not change any more.
func (r *round) final() int64 {
	return max(r.state.Closed-r.o.Window.UpdateFor.Microseconds(), r.state.Forgotten)
}

// failsLate reports whether late records fail. One that is tried again is never dropped by that.
func (r *round) failsLate() bool { return r.retry != nil || r.o.Window.Late == project.LateFailed }

// leaveOut counts late records that are left out.
func (r *round) leaveOut(shard int, n uint64) {
	for i := range r.commit.Progress {
		if p := &r.commit.Progress[i]; p.Shard == shard {
			p.Dropped += n
			p.RowsOut -= min(n, p.RowsOut)
		}
	}
}

// lateRecord makes a failed record of a late one.
func (r *round) lateRecord(ctx context.Context, o *outcast) table.FailedRecord {
	why := " lies further behind than the lateness allows"
	if r.retry != nil {
		why = " lies in windows that have been delivered"
	}
	rec, _, err := r.o.Record(ctx, o.at)
	if err != nil { // retention may have taken it meanwhile
		r.StreamSink.o.Logger.Warn("a late record cannot be read again and fails without its bytes", "position", o.at, "error", err)
	}
	return table.FailedRecord{Pipeline: r.o.Extract, Table: r.StreamSink.o.Delivery, Stream: r.o.From, Shard: o.at.Shard, Offset: o.at.Offset, Stage: "late", Code: tarn.CodeInvalid,
		Reason:   "its time " + time.UnixMicro(o.us).UTC().Format(time.RFC3339Nano) + why,
		Attempts: 1, Arrival: time.UnixMicro(o.arrivedUs).UTC(), FailedAt: time.Now().UTC(), Record: rec}
}
