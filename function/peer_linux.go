package function

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
)

// guarded returns the listener of the Runtime API. Where the worker shares this machine's network,
// every local program could connect and take the function's events or answer for it; then only
// connections of the worker's own processes get through.
func (p *process) guarded() net.Listener {
	if p.alone {
		return p.listener
	}
	return &ownListener{Listener: p.listener, pid: p.cmd.Process.Pid}
}

// ownListener accepts connections from one process and its descendants.
type ownListener struct {
	net.Listener
	pid int
}

// Accept implements net.Listener; strangers are hung up on.
func (l *ownListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.owns(c) {
			return c, err
		}
		_ = c.Close()
	}
}

// owns reports whether one of the processes holds the other end of c. Where /proc does not tell, it
// trusts.
func (l *ownListener) owns(c net.Conn) bool {
	from, ok1 := c.RemoteAddr().(*net.TCPAddr)
	to, ok2 := c.LocalAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return false
	}
	inode := socketInode(from.Port, to.Port)
	if inode == "" {
		return false // closed again already
	}
	var m meter
	pids := []int{l.pid}
	for i := 0; i < len(pids) && len(pids) < maxTree; i++ {
		holds, err := holdsSocket(pids[i], inode)
		if holds || err != nil && pids[i] == l.pid {
			return true
		}
		pids = m.children(pids, pids[i])
	}
	return false
}

// socketInode returns the inode of the loopback socket that is connected from one port to another
// (proc(5), /proc/net/tcp), or "".
func socketInode(from, to int) string {
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		return ""
	}
	ends := fmt.Appendf(nil, ": 0100007F:%04X 0100007F:%04X ", from, to)
	_, line, found := bytes.Cut(table, ends)
	if !found {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	if fields := bytes.Fields(line); len(fields) > 6 { // st, queues, timer, retransmits, uid, timeout, inode
		return string(fields[6])
	}
	return ""
}

// holdsSocket reports whether a process has a socket open.
func holdsSocket(pid int, inode string) (bool, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if link, _ := os.Readlink(dir + "/" + e.Name()); link == "socket:["+inode+"]" {
			return true, nil
		}
	}
	return false, nil
}
