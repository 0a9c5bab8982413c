import os
import sys

print("no configuration", file=sys.stderr, flush=True)
os._exit(3)
