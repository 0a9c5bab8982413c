"""Calls a handler in a bare loop: bare.py FOLDER HANDLER EVENTFILE COUNT prints the seconds taken."""

import importlib
import json
import sys
import time

folder, handler, path, count = sys.argv[1:]
module, _, name = handler.rpartition(".")
sys.path.insert(0, folder)
function = getattr(importlib.import_module(module), name)
out = open("/dev/null", "wb")


def once():
    with open(path, "rb") as file:
        event = json.loads(file.read())
    out.write(json.dumps(function(event, None), separators=(",", ":")).encode())


for _ in range(50):
    once()
begun = time.perf_counter()
for _ in range(int(count)):
    once()
print(time.perf_counter() - begun)
