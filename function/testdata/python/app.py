"""Handlers as people have them, and a few that misbehave."""

import asyncio
import base64
import json
import logging
import os
import subprocess
import sys
import time

calls = 0


def handler(event, context):
    """The well-known Firehose transformation."""
    output = []
    for record in event["records"]:
        payload = json.loads(base64.b64decode(record["data"]))
        payload["enriched"] = True
        output.append(
            {
                "recordId": record["recordId"],
                "result": "Ok",
                "data": base64.b64encode((json.dumps(payload) + "\n").encode("utf-8")).decode("utf-8"),
                "metadata": {"partitionKeys": {"device": str(payload["device"])}},
            }
        )
    return {"records": output}


def echo(event, context):
    return event


def about(event, context):
    global calls
    calls += 1
    return {
        "calls": calls,
        "env": dict(os.environ),
        "cwd": os.getcwd(),
        "uid": os.getuid(),
        "pid": os.getpid(),
        "fds": descriptors(),
        "request": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "remaining": context.get_remaining_time_in_millis(),
        "log": [context.log_group_name, context.log_stream_name],
        "name": context.function_name,
    }


def descriptors():
    """What is open, as links; the listing itself is gone when it is looked at."""
    out = []
    try:
        names = os.listdir("/proc/self/fd")
    except PermissionError:
        return out
    for fd in names:
        try:
            out.append(os.readlink("/proc/self/fd/" + fd))
        except OSError:
            pass
    return out


async def later(event, context):
    await asyncio.sleep(0.01)
    return {"later": event}


def act(event, context):
    """Does what the event says."""
    for what, value in event.items():
        if what == "print":
            print(value)
        elif what == "error":
            print(value, file=sys.stderr)
        elif what == "log":
            logging.getLogger().warning(value)
        elif what == "spam":
            for i in range(value):
                print("line", i)
        elif what == "sleep":
            time.sleep(value)
        elif what == "raise":
            raise ValueError(value)
        elif what == "exit":
            print("leaving", file=sys.stderr, flush=True)
            os._exit(value)
        elif what == "large":
            return "x" * value
        elif what == "unserializable":
            return object()
        elif what == "allocate":
            return len(bytearray(b"x") * value)
        elif what == "children":
            for _ in range(value):
                subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    return os.getpid()
