package function

// Ahead returns how many workers hold an event that is not theirs to run yet.
func (p *Pool) Ahead() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		if w.ahead != nil {
			n++
		}
	}
	return n
}
