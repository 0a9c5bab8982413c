//go:build !unix

package function

// receive reads from the pipe and gives the bytes to use with the pipe's lock held.
func (p *pipe) receive(block []byte, use func([]byte)) error {
	n, err := p.file.Read(block)
	p.mu.Lock()
	defer p.mu.Unlock()
	use(block[:n])
	return err
}
