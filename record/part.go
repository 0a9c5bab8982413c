package record

// part gathers the records of one shard. While they lie in the body exactly as a payload of lines
// holds them, it only remembers where; the first that does not makes it copy.
type part struct {
	from, to int    // the records are body[from:to] while payload is nil
	payload  []byte // else here
	framed   bool   // payload holds lengths, not lines
	opaque   bool
	shards   int // among which the records of the body are divided

	count  int
	index  []int32
	shapes ShapeList
}

// add appends the record body[start:end] with the given index in the request. breaks says that it
// holds raw newlines or carriage returns.
func (p *part) add(body []byte, start, end int, breaks bool, shape uint64, index int) {
	p.shapes.Add(shape, p.count)
	if p.index != nil {
		p.index = append(p.index, int32(index))
	} else if index != p.count {
		p.index = make([]int32, p.count, 2*p.count+8)
		for i := range p.index {
			p.index[i] = int32(i)
		}
		p.index = append(p.index, int32(index))
	}
	first := p.count == 0
	p.count++
	if p.payload == nil {
		if first {
			p.from, p.to = start, start
		}
		if start == p.to && !breaks && end < len(body) && body[end] == '\n' {
			p.to = end + 1
			return
		}
		room := len(body) - start
		if p.shards > 1 {
			room = room / p.shards * 9 / 8
		}
		room += 16
		p.payload = append(make([]byte, 0, p.to-p.from+room), body[p.from:p.to]...)
	}
	if breaks && !p.framed {
		p.frame()
	}
	p.payload = AppendRecord(p.payload, body[start:end], !p.framed)
}

// frame turns a payload of lines into one of lengths.
func (p *part) frame() {
	lines := Segment{Payload: p.payload, Lines: true}
	p.payload = make([]byte, 0, len(p.payload)+p.count+len(p.payload)/16)
	for _, rec := range lines.Records() {
		p.payload = AppendRecord(p.payload, rec, false)
	}
	p.framed = true
}

func (p *part) segment(f *framer) Segment {
	s := Segment{
		Arrival: f.o.Arrival, Key: f.o.Key, Count: p.count,
		Payload: p.payload, Lines: !p.framed,
		Shapes: p.shapes.Refs, ShapesOverflow: p.shapes.Overflow,
	}
	if p.opaque {
		s.Format = Opaque
	}
	if s.Payload == nil {
		s.Payload = f.body[p.from:p.to:p.to]
	}
	return s
}
