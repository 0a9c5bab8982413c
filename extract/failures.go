package extract

import (
	"errors"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

// failures adds failed records to a commit, and to the counts of its progress, each record once.
type failures struct {
	commit *table.Commit
	seen   map[tarn.Position]bool
}

func (f *failures) add(r table.FailedRecord) {
	p := tarn.Position{Shard: r.Shard, Offset: r.Offset}
	if f.seen == nil {
		f.seen = map[tarn.Position]bool{}
	}
	if f.seen[p] {
		return
	}
	f.seen[p] = true
	f.commit.Failed = append(f.commit.Failed, r)
	for i := range f.commit.Progress {
		if m := &f.commit.Progress[i]; m.Shard == r.Shard {
			m.Failed++
			if m.RowsOut > 0 {
				m.RowsOut--
			}
		}
	}
}

// reason is the part of an error that may be stored and shown.
func reason(err error) string {
	var e *tarn.Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return "the row was refused"
}
