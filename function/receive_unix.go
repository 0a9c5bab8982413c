//go:build unix

package function

import (
	"io"
	"syscall"
)

// receive reads from the pipe once bytes are there and gives them to use with the pipe's lock held.
func (p *pipe) receive(block []byte, use func([]byte)) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Read(func(fd uintptr) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		n, err := syscall.Read(int(fd), block)
		switch {
		case err == syscall.EAGAIN:
			return false
		case err == syscall.EINTR:
		case n <= 0:
			failure = io.EOF
		default:
			use(block[:n])
		}
		return true
	})
	return first(err, failure)
}
