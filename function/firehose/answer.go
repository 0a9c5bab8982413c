package firehose

import (
	"encoding/base64"
	"fmt"

	"github.com/tarn-data/tarn"
)

// Result is what a function decided about a record.
type Result uint8

// The results.
const (
	Failed  Result = iota // ProcessingFailed, or the answer for the record cannot be used: see Reason
	Ok                    // Data takes the record's place
	Dropped               // the record is left out on purpose
)

// Outcome is what became of one record.
type Outcome struct {
	Result        Result
	Data          []byte // with Ok; may be empty. It lives in the Decoder: until the next Decode
	PartitionKeys []PartitionKey
	Reason        string // with Failed: why, for the failed-record store
}

// PartitionKey is one entry of metadata.partitionKeys.
type PartitionKey struct{ Name, Value string }

// Reasons of Outcome; some have details appended.
const (
	ReasonProcessingFailed = "the function answered ProcessingFailed"
	ReasonMissing          = "the function's answer does not hold this record"
	ReasonTwice            = "the function's answer holds this record more than once"
	ReasonResult           = "the function's answer has no result Ok, Dropped or ProcessingFailed for this record"
	ReasonNoData           = "the function answered Ok without data"
	ReasonBase64           = "the function's data is not base64"
	ReasonPartitionKeys    = "the function's metadata.partitionKeys are not names with text values"
)

// Decoder reads answers and reuses its memory. The zero value is ready. It is for one goroutine.
type Decoder struct {
	outcomes []Outcome
	answered []bool
	index    map[tarn.Position]int // of sent; made when an answer is out of order
	data     []byte
	scratch  []byte
}

// Decode reads a function's answer to an event with the records sent and returns their outcomes in
// that order. What is wrong with one record's answer fails that record. An answer that is not JSON, has
// no list of records, or names a record that was not sent says nothing reliable about any: it is a
// *tarn.Error. The outcomes are valid until the next Decode; answer is not kept.
func (d *Decoder) Decode(answer []byte, sent []Record) ([]Outcome, error) {
	d.reset(len(answer), len(sent))
	s := scanner{b: answer}
	found := false
	err := s.document(func() error {
		if s.peek() != '{' {
			return notAnAnswer("it is not a JSON object")
		}
		return s.object(func(key []byte) error {
			if string(key) != "records" {
				return s.skip()
			}
			if found {
				return notAnAnswer("it has two lists of records")
			}
			found = true
			if s.peek() != '[' {
				return notAnAnswer("its records are not a list")
			}
			expect := 0
			return s.array(func() error { return d.record(&s, sent, &expect) })
		})
	})
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, notAnAnswer("it has no list of records")
	}
	for i, answered := range d.answered {
		if !answered {
			d.outcomes[i] = Outcome{Reason: ReasonMissing}
		}
	}
	return d.outcomes, nil
}

func (d *Decoder) reset(bytes, n int) {
	d.outcomes = append(d.outcomes[:0], make([]Outcome, n)...)
	d.answered = append(d.answered[:0], make([]bool, n)...)
	d.index = nil
	if cap(d.data) < bytes/4*3 {
		d.data = make([]byte, 0, bytes/4*3) // enough for all: data never moves while outcomes point to it
	}
	d.data = d.data[:0]
}

// entry is one element of records as it is read.
type entry struct {
	id, result   []byte
	data         []byte
	hasData      bool
	partitions   []PartitionKey
	badPartition bool
}

// record reads one element. *expect is the index that an answer in order has next.
func (d *Decoder) record(s *scanner, sent []Record, expect *int) error {
	if s.peek() != '{' {
		return notAnAnswer("an element of its records is not an object")
	}
	var e entry
	if err := s.object(func(key []byte) error { return e.field(s, key) }); err != nil {
		return err
	}
	if e.id == nil {
		return notAnAnswer("a record has no recordId")
	}
	i := d.find(e.id, sent, *expect)
	if i < 0 {
		return notAnAnswer(fmt.Sprintf("it names the record %.60q, which was not sent", e.id))
	}
	*expect = i + 1
	if d.answered[i] {
		d.outcomes[i] = Outcome{Reason: ReasonTwice}
		return nil
	}
	d.answered[i] = true
	d.outcomes[i] = d.outcome(&e)
	return nil
}

// field reads the value of one key of an element.
func (e *entry) field(s *scanner, key []byte) (err error) {
	switch string(key) {
	case "recordId":
		e.id, err = s.textOrSkip()
	case "result":
		e.result, err = s.textOrSkip()
	case "data":
		e.data, err = s.textOrSkip()
		e.hasData = e.data != nil
	case "metadata":
		e.partitions, e.badPartition = nil, false
		if s.peek() != '{' {
			return s.skip()
		}
		return s.object(func(key []byte) error {
			if string(key) != "partitionKeys" {
				return s.skip()
			}
			return e.partitionKeys(s)
		})
	default:
		err = s.skip()
	}
	return err
}

func (e *entry) partitionKeys(s *scanner) error {
	e.partitions, e.badPartition = nil, false
	if s.peek() != '{' {
		e.badPartition = s.peek() != 'n' // null is as good as none
		return s.skip()
	}
	return s.object(func(key []byte) error {
		name := string(key) // key does not outlive the next string
		value, ok, err := s.scalar()
		if !ok {
			e.badPartition = true
		}
		e.partitions = append(e.partitions, PartitionKey{Name: name, Value: string(value)})
		return err
	})
}

// find returns the index of the record with an id, or -1.
func (d *Decoder) find(id []byte, sent []Record, expect int) int {
	if expect < len(sent) {
		d.scratch = appendPosition(d.scratch[:0], sent[expect].Position)
		if string(d.scratch) == string(id) {
			return expect
		}
	}
	if d.index == nil {
		d.index = make(map[tarn.Position]int, len(sent))
		for i := range sent {
			d.index[sent[i].Position] = i
		}
	}
	p, err := tarn.ParsePosition(string(id))
	if err != nil {
		return -1
	}
	i, ok := d.index[p]
	if !ok || p.String() != string(id) {
		return -1
	}
	return i
}

// outcome judges what was read.
func (d *Decoder) outcome(e *entry) Outcome {
	switch string(e.result) {
	case "Dropped":
		return Outcome{Result: Dropped}
	case "ProcessingFailed":
		return Outcome{Reason: ReasonProcessingFailed}
	case "Ok":
	default:
		return Outcome{Reason: ReasonResult}
	}
	switch {
	case !e.hasData:
		return Outcome{Reason: ReasonNoData}
	case e.badPartition:
		return Outcome{Reason: ReasonPartitionKeys}
	}
	start := len(d.data)
	data, err := base64.StdEncoding.AppendDecode(d.data, e.data)
	if err != nil {
		return Outcome{Reason: ReasonBase64 + ": " + err.Error()}
	}
	d.data = data
	return Outcome{Result: Ok, Data: data[start:len(data):len(data)], PartitionKeys: e.partitions}
}

func notAnAnswer(why string) error {
	return &tarn.Error{
		Code: tarn.CodeInvalid, Detail: "the function's answer is not one of a Firehose transformation: " + why,
		Hint: `answer {"records": [{"recordId": …, "result": "Ok", "data": base64}, …]} with every recordId of the event once`,
	}
}
