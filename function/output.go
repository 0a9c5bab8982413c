package function

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds on what one worker may print (I8).
const (
	maxLineBytes  = 8 << 10
	linesASecond  = 1000
	keptErrors    = 20 // lines of standard error that an ExitError carries
	readBlock     = 32 << 10
	settleAtMost  = 100 * time.Millisecond
	finishAtMost  = time.Second
	truncatedMark = " …"
)

// output turns what a worker prints into Lines.
type output struct {
	pool    *Pool
	readers sync.WaitGroup
	pipes   [2]*pipe

	mu        sync.Mutex
	requestID string // of the invocation that runs or ran last
	pipeline  string
	errors    []string // last lines of standard error
	second    int64    // Unix time of the current rate window
	written   int      // lines in it
	dropped   int      // lines left out in it
}

// pipe is the reading end of standard output or error.
type pipe struct {
	stream string
	file   *os.File
	mu     sync.Mutex // held from reading bytes until their lines are written
	rest   []byte     // an unfinished line
	cut    bool       // it was longer than maxLineBytes; what follows is skipped
}

func newOutput(p *Pool) *output { return &output{pool: p} }

// read starts reading the pipes of proc until they end or finish closes them.
func (o *output) read(proc *process) {
	o.pipes = [2]*pipe{{stream: Stdout, file: proc.stdout}, {stream: Stderr, file: proc.stderr}}
	for _, p := range o.pipes {
		o.readers.Go(func() { o.drain(p) })
	}
}

// drain reads p to its end. Bytes are read and made lines under one lock, so that settle can tell
// that nothing is on the way.
func (o *output) drain(p *pipe) {
	block := make([]byte, readBlock)
	for p.receive(block, func(b []byte) { o.split(p, b) }) == nil {
	}
	o.endLine(p)
}

// split writes the whole lines of b and keeps the rest, which never grows over maxLineBytes.
func (o *output) split(p *pipe, b []byte) {
	for {
		nl := bytes.IndexByte(b, '\n')
		part := b
		if nl >= 0 {
			part = b[:nl]
		}
		if room := maxLineBytes - len(p.rest); len(part) > room {
			part, p.cut = part[:room], true
		}
		p.rest = append(p.rest, part...)
		if nl < 0 {
			return
		}
		o.line(p.stream, p.rest, p.cut)
		p.rest, p.cut = p.rest[:0], false
		b = b[nl+1:]
	}
}

// begin lets lines from now on belong to c.
func (o *output) begin(c *call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requestID, o.pipeline = c.RequestID, c.Pipeline
}

// settle waits until what was printed so far has become lines, but not for long. A last line without an
// end ends with its invocation, or it would begin the first line of the next one.
func (o *output) settle() {
	until := time.Now().Add(settleAtMost)
	for _, p := range o.pipes {
		for p != nil && pending(p) && time.Now().Before(until) {
			time.Sleep(50 * time.Microsecond)
		}
		if p != nil {
			o.endLine(p)
		}
	}
}

// endLine writes an unfinished line of p as it is.
func (o *output) endLine(p *pipe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rest) > 0 {
		o.line(p.stream, p.rest, p.cut)
	}
	p.rest, p.cut = p.rest[:0], false
}

func pending(p *pipe) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return unread(p.file) > 0
}

// finish reads what a dead process left in its pipes and stops. A process that escaped and holds them
// open does not hold up the worker.
func (o *output) finish() {
	for _, p := range o.pipes {
		_ = p.file.SetReadDeadline(time.Now().Add(finishAtMost))
	}
	o.readers.Wait()
	for _, p := range o.pipes {
		_ = p.file.Close()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reportDropped()
}

// line writes one line unless there are too many.
func (o *output) line(stream string, text []byte, cut bool) {
	s := string(bytes.ToValidUTF8(bytes.TrimSuffix(text, []byte("\r")), []byte(string(utf8.RuneError))))
	s = o.pool.redact.Replace(s)
	if cut {
		s += truncatedMark
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if stream == Stderr {
		if len(o.errors) == keptErrors {
			o.errors = slices.Delete(o.errors, 0, 1)
		}
		o.errors = append(o.errors, s)
	}
	if now := o.pool.opts.Clock().Unix(); now != o.second {
		o.reportDropped()
		o.second, o.written = now, 0
	}
	if o.written == linesASecond {
		o.dropped++
		return
	}
	o.written++
	o.write(stream, s)
}

// reportDropped says how many lines are missing. Called with mu held.
func (o *output) reportDropped() {
	if o.dropped > 0 {
		o.write(System, fmt.Sprintf("%d lines left out: more than %d in one second", o.dropped, linesASecond))
		o.dropped = 0
	}
}

// system writes a line of the host.
func (o *output) system(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(System, s)
}

// write appends to Logs. Called with mu held.
func (o *output) write(stream, s string) {
	if o.pool.opts.Logs == nil {
		return
	}
	o.pool.opts.Logs.Append(Line{
		Time: o.pool.opts.Clock().UTC(), Function: o.pool.spec.Name, RequestID: o.requestID,
		Pipeline: o.pipeline, Stream: stream, Line: s,
	})
}

// lastErrors returns the last lines of standard error.
func (o *output) lastErrors() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.errors)
}
