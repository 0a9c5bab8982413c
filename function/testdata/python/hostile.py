"""Tries to reach what a function must not reach. Each attempt returns what it got, or raises."""

import ctypes
import os
import signal
import socket
import subprocess
import sys


def handler(event, context):
    return ATTEMPTS[event["try"]](event)


def read(event):
    with open(event["path"], "rb") as file:
        return repr(file.read(100))


def list_folder(event):
    return os.listdir(event["path"])


def write(event):
    with open(event["path"], "ab") as file:
        file.write(b"x")
    return "written"


def tmp(event):
    """Returns what is in /tmp, and leaves something there."""
    folder = os.environ["TMPDIR"]
    seen = os.listdir(folder)
    with open(os.path.join(folder, "left-" + str(os.getpid())), "w") as file:
        file.write("mine")
    return seen


def fill(event):
    with open(os.path.join(os.environ["TMPDIR"], "big"), "wb") as file:
        for _ in range(event["mib"]):
            file.write(bytes(1 << 20))
    return "filled"


def connect(event):
    with socket.create_connection((event["host"], event["port"]), timeout=2) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return repr(s.recv(100))


def datagram(event):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(b"x", (event["host"], event["port"]))
        return repr(s.recv(100))


def abstract(event):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0" + event["name"])
        return "connected"


def kill(event):
    os.kill(event["pid"], signal.SIGKILL)
    return "killed"


def ptrace(event):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, event["pid"], 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    return "attached"


def system_call(event):
    libc = ctypes.CDLL(None, use_errno=True)
    got = libc.syscall(*event["call"])
    if got < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return got


def capabilities(event):
    status = open("/proc/self/status").read()
    return {line.split(":")[0]: line.split(":")[1].strip() for line in status.splitlines() if line.startswith(("Cap", "NoNew", "Seccomp:"))}


def processes(event):
    return [name for name in os.listdir("/proc") if name.isdigit()]


def bomb(event):
    count = 0
    try:
        while count < 5000:
            if os.fork() == 0:
                while True:
                    signal.pause()
            count += 1
    except OSError:
        print("forks", count, flush=True)
        raise
    return count


def threads(event):
    import threading

    stop = threading.Event()
    for _ in range(5000):
        threading.Thread(target=stop.wait, daemon=True).start()
    return "started"


def allocate(event):
    kept = []
    for _ in range(event["mib"] // event["step"]):
        kept.append(bytearray(os.urandom(1)) * (event["step"] << 20))
    return sum(map(len, kept))


def shared(event):
    import mmap

    kept = []
    for _ in range(event["mib"] // 64):
        m = mmap.mmap(-1, 64 << 20)
        for i in range(0, 64 << 20, 4096):
            m[i] = 1
        kept.append(m)
    return len(kept)


def together(event):
    """Many processes that are each below the limit."""
    for _ in range(event["processes"]):
        if os.fork() == 0:
            kept = bytearray(b"x") * (event["mib"] << 20)
            signal.pause()
            sys.exit(len(kept))
    import time

    time.sleep(30)
    return "all there"


def leave(event):
    """A grandchild that detaches itself and stays."""
    subprocess.Popen(["/bin/sh", "-c", event["command"]], start_new_session=True)
    return "left"


ATTEMPTS = {f.__name__: f for f in (read, list_folder, write, tmp, fill, connect, datagram, abstract, kill, ptrace, system_call, capabilities, processes, bomb, threads, allocate, shared, together, leave)}
