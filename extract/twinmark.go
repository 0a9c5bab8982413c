package extract

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/tarn-data/tarn/table"
	"github.com/tarn-data/tarn/twin"
)

// Documents of a delivery to a twin: a moment of the twin that the progress needs, and whether it was found to be
// without that.
const (
	twinMarkDocument   = "twin_mark"
	twinBehindDocument = "twin_behind"
)

// twinBehind says that a twin was put back behind the progress of its extract.
type twinBehind struct {
	Found time.Time
	Mark  twin.Mark // that was missing
}

// marked adds to a commit the moment of the twin that holds what the commit is about. Twins and progress may lie in two
// databases, each with copies of its own.
func (s *TwinSink) marked(c table.Commit) (table.Commit, error) {
	t, err := s.o.Twin()
	if err != nil {
		return c, err
	}
	doc, err := json.Marshal(t.Mark())
	if err != nil {
		return c, err
	}
	docs := map[string][]byte{twinMarkDocument: doc}
	maps.Copy(docs, c.Documents)
	c.Documents = docs
	return c, nil
}

// compare notes that the twin lacks what the progress says it has. The extract goes on: what comes is newer.
func (s *TwinSink) compare(ctx context.Context, docs map[string][]byte) error {
	t, err := s.o.Twin()
	if err != nil {
		return err
	}
	lacks, mark, err := twinLacks(ctx, t, docs)
	if err != nil || !lacks || docs[twinBehindDocument] != nil {
		return err
	}
	s.o.Logger.Error("the twin was put back behind the progress of its extract, and lacks values", "twin", t.Name(), "hint", behindHint)
	doc, err := json.Marshal(twinBehind{time.Now().UTC(), mark})
	if err != nil {
		return err
	}
	return s.o.Store.Record(ctx, s.o.Delivery, table.Commit{Documents: map[string][]byte{twinBehindDocument: doc}}, nil)
}

// twinLacks reports whether a twin is before the mark that was committed with the progress.
func twinLacks(ctx context.Context, t *twin.Twin, docs map[string][]byte) (bool, twin.Mark, error) {
	var mark twin.Mark
	if docs[twinMarkDocument] == nil {
		return false, mark, nil
	}
	if err := json.Unmarshal(docs[twinMarkDocument], &mark); err != nil {
		return false, mark, fmt.Errorf("the mark of the twin %s: %w", t.Name(), err)
	}
	now, err := t.Stored(ctx)
	return now.Before(mark), mark, err
}

const behindHint = "give the extract another name: it reads the stream from its beginning, and newer values win"

// TwinBehind says what is wrong when a twin lacks values that an extract has brought, or "". docs are the
// documents of the extract's delivery to the twin.
func TwinBehind(ctx context.Context, t *twin.Twin, docs map[string][]byte) (string, error) {
	why := "the twin " + t.Name() + " is older than the progress of the extract, as after its database was removed or put back from a copy; " + behindHint
	if doc := docs[twinBehindDocument]; doc != nil {
		var b twinBehind
		if err := json.Unmarshal(doc, &b); err != nil {
			return "", err
		}
		return why + " (found " + b.Found.Format(time.RFC3339) + ")", nil
	}
	lacks, _, err := twinLacks(ctx, t, docs)
	if err != nil || !lacks {
		return "", err
	}
	return why, nil
}
