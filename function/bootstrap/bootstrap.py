"""Loads a Python handler and speaks the AWS Lambda Runtime API for it over one kept connection."""

import importlib
import inspect
import json
import os
import socket
import sys
import time
import traceback

PREFIX = "/2018-06-01/runtime"


class Connection:
    """HTTP/1.1 as far as the Runtime API needs it: one request at a time, answers with a length."""

    def __init__(self, address):
        host, _, port = address.partition(":")
        self.socket = socket.create_connection((host, int(port or "80")))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = address
        self.rest = b""

    def request(self, method, path, body=b"", headers=""):
        self.send(method, path, body, headers)
        return self.answer()

    def send(self, method, path, body=b"", headers="", then=b""):
        """Sends one request, and the bytes of another one behind it."""
        head = f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: {self.host}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        head = head.encode("latin-1", "replace")
        if len(body) < 65536:
            self.socket.sendall(head + body + then)
        else:
            self.socket.sendall(head, socket.MSG_MORE)
            self.socket.sendall(body, socket.MSG_MORE if then else 0)
            if then:
                self.socket.sendall(then)

    def answer(self):
        data = self.rest
        end = data.find(b"\r\n\r\n")
        while end < 0:
            data += self.receive(65536)
            end = data.find(b"\r\n\r\n")
        lines = data[:end].decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        have = len(data) - end - 4
        if have >= length:
            body, self.rest = data[end + 4 : end + 4 + length], data[end + 4 + length :]
            return status, headers, body
        body = bytearray(length)
        body[:have] = data[end + 4 :]
        view = memoryview(body)
        while have < length:
            n = self.socket.recv_into(view[have:], 0, socket.MSG_WAITALL)
            if n == 0:
                raise ConnectionError("the host closed the connection")
            have += n
        self.rest = b""
        return status, headers, body

    def receive(self, size):
        data = self.socket.recv(size)
        if not data:
            raise ConnectionError("the host closed the connection")
        return data


class CognitoIdentity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class Context:
    """What a handler learns about its invocation, as in AWS Lambda."""

    def __init__(self, headers):
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id", "")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn", "")
        self._deadline = int(headers.get("lambda-runtime-deadline-ms", "0"))
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME", "")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "")
        self.identity = CognitoIdentity()
        self.client_context = None

    def get_remaining_time_in_millis(self):
        return max(self._deadline - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))


def failure(error, frames):
    """The report of an exception, as the Lambda service expects it."""
    lines = traceback.format_list(frames)
    report = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": lines}
    return json.dumps(report).encode(), type(error).__name__


def own_frames(error):
    """The frames of an exception without those of this file and of importlib."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]


def load(handler):
    """Returns the function that a handler of the form module.function names."""
    module, _, name = handler.rpartition(".")
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    found = getattr(importlib.import_module(module.replace("/", ".")), name, None)
    if found is None:
        raise AttributeError(f"Handler '{name}' missing on module '{module}'")
    return found


def set_up_logging():
    """Handlers that only call logging.info expect a handler to be there, as in AWS Lambda."""
    import logging

    out = logging.StreamHandler(sys.stdout)
    out.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.Formatter.converter = time.gmtime
    logging.getLogger().addHandler(out)


def runner(function):
    """Returns function as one that is called and returns; a coroutine function runs to its end."""
    if not inspect.iscoroutinefunction(function):
        return function
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return lambda event, context: loop.run_until_complete(function(event, context))


def encode(result):
    return json.dumps(result, separators=(",", ":")).encode()


def error_header(kind):
    return f"Lambda-Runtime-Function-Error-Type: {kind}\r\n"


def main():
    sys.stdout.reconfigure(line_buffering=True)
    connection = Connection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    set_up_logging()
    try:
        function = runner(load(os.environ["_HANDLER"]))
    except BaseException as error:  # SystemExit while importing is a failure to load, too
        traceback.print_exc()
        kind = {"ModuleNotFoundError": "ImportModuleError", "ImportError": "ImportModuleError", "SyntaxError": "UserCodeSyntaxError"}.get(
            type(error).__name__, type(error).__name__
        )
        report, _ = failure(error, own_frames(error))
        connection.request("POST", "/init/error", report, error_header("Runtime." + kind))
        sys.exit(1)
    serve(connection, function)


def serve(connection, function):
    # The request for the next event goes out right behind the answer to the last: one wait instead of two.
    ask = f"GET {PREFIX}/invocation/next HTTP/1.1\r\nHost: {connection.host}\r\n\r\n".encode()
    status, headers, event = connection.request("GET", "/invocation/next")
    while status == 200:
        path = "/invocation/" + headers["lambda-runtime-aws-request-id"]
        os.environ["_X_AMZN_TRACE_ID"] = headers.get("lambda-runtime-trace-id", "")
        try:
            result = encode(function(json.loads(event), Context(headers)))
        except Exception as error:
            traceback.print_exception(type(error), error, error.__traceback__)
            result, kind = failure(error, own_frames(error))
            headers = error_header(kind)
            path += "/error"
        else:
            headers = "Content-Type: application/json\r\n"
            path += "/response"
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send("POST", path, result, headers, then=ask)
        del event, result
        connection.answer()
        status, headers, event = connection.answer()


if __name__ == "__main__":
    main()
