package delivery

import (
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/duck"
)

// CleanedView is how objects of the zone cleaned are read as a table.
type CleanedView struct {
	Schema tarn.Schema // the columns of the records, with ids
	input  inputSchema
	bytes  int
}

// NewCleanedView returns the view that the documents of a delivery describe, nil when there are none
// yet. recordBytes is the size of the largest record.
func NewCleanedView(documents map[string][]byte, recordBytes int) (*CleanedView, error) {
	if documents[inputDocument] == nil {
		return nil, nil
	}
	state, err := infer.Load(documents[inputDocument], infer.Options{})
	if err != nil {
		return nil, fmt.Errorf("the input schema stored with the delivery: %w", err)
	}
	in := input{state: state}
	in.refresh()
	v := &CleanedView{input: *in.cur, bytes: 2*recordBytes + 1024}
	for i, f := range in.cur.schema.Fields {
		f.ID = i + 1
		v.Schema.Fields = append(v.Schema.Fields, f)
	}
	return v, nil
}

// SQL is the relation of the records in files.
func (v *CleanedView) SQL(files []string) string {
	if len(files) == 0 {
		return duck.Empty(v.Schema)
	}
	return "(SELECT " + v.input.sel + " FROM " + duck.ReadNDJSON(files, v.input.read, v.bytes) + ")"
}
