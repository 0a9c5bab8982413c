// Loads a Node.js handler and speaks the AWS Lambda Runtime API for it over one kept connection.

import * as buffer from "node:buffer";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const env = process.env;
const prefix = "/2018-06-01/runtime";

const headRoom = 4096; // bytes of a request before its body
const ask = `GET ${prefix}/invocation/next HTTP/1.1\r\nHost: ${env.AWS_LAMBDA_RUNTIME_API}\r\n\r\n`;

// Connection is HTTP/1.1 as far as the Runtime API needs it: answers have a length and come in the order
// of the requests. What is sent and received passes through two buffers that are kept, because fresh
// memory for every event costs more than the system calls.
class Connection {
  constructor(address) {
    this.address = address;
    const [host, port] = address.split(":");
    this.out = Buffer.allocUnsafe(1 << 16);
    this.in = Buffer.allocUnsafe(1 << 16);
    this.filled = 0; // bytes received of answers that are not complete
    this.head = null; // of the first of them, once it is complete
    this.waiting = [];
    const onread = { buffer: () => this.room(), callback: (count) => this.receive(count) };
    this.socket = connect({ host, port: Number(port || 80), noDelay: true, onread });
    this.socket.on("error", (error) => this.fail(error));
    this.socket.on("close", () => this.fail(new Error("the host closed the connection")));
  }

  // next asks for an event and resolves with it.
  next() {
    this.socket.write(ask, "latin1");
    return this.answer();
  }

  // post sends a text, and right behind it what comes then. It resolves with the answer to the text.
  post(path, text, headers, then = "") {
    const body = this.write(text, then);
    const head = `POST ${prefix}${path} HTTP/1.1\r\nHost: ${this.address}\r\n${headers}Content-Length: ${body}\r\n\r\n`;
    const start = headRoom - head.length;
    this.out.latin1Write(head, start);
    const end = headRoom + body + this.out.latin1Write(then, headRoom + body);
    this.socket.write(this.out.subarray(start, end)); // free again when the answer is here
    return this.answer();
  }

  // write puts a text into the buffer, leaves room before and behind it, and returns its length in bytes.
  write(text, then) {
    for (let wide = 1; ; wide = 3) { // most texts are ASCII; no character takes more than three bytes
      const size = headRoom + wide * text.length + then.length;
      if (this.out.length < size) this.out = Buffer.allocUnsafe(size + (size >> 3));
      const length = this.out.utf8Write(text, headRoom, this.out.length - headRoom - then.length);
      if (length === text.length || wide === 3) return length;
    }
  }

  answer() {
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  // room returns the free part of the buffer, large enough for the rest of the answer that comes in.
  room() {
    const needed = Math.max(this.head?.end ?? 0, this.filled + headRoom);
    if (this.in.length < needed) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.in.length));
      this.in.copy(larger, 0, 0, this.filled);
      this.in = larger;
    }
    return this.in.subarray(this.filled);
  }

  receive(count) {
    this.filled += count;
    while (this.readHead() && this.head.end <= this.filled) {
      const { status, headers, start, end } = this.head;
      const body = text(this.in.subarray(start, end));
      this.in.copyWithin(0, end, this.filled);
      this.filled -= end;
      this.head = null;
      this.waiting.shift().resolve({ status, headers, body });
    }
  }

  // readHead reports whether the head of an answer is there.
  readHead() {
    if (this.head !== null) return true;
    const length = this.in.subarray(0, this.filled).indexOf("\r\n\r\n");
    if (length < 0) return false;
    const lines = this.in.latin1Slice(0, length).split("\r\n");
    const headers = {};
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(":");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const start = length + 4;
    this.head = { status: Number(lines[0].split(" ")[1]), headers, start, end: start + Number(headers["content-length"] || 0) };
    return true;
  }

  fail(error) {
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}

// text is bytes as a string. Most are ASCII, which is faster to read as Latin-1.
function text(bytes) {
  return buffer.isAscii?.(bytes) ? bytes.latin1Slice() : bytes.toString(); // older releases cannot tell
}

// report is an error as the Lambda service expects it; anything can be thrown in JavaScript.
function report(error) {
  if (!(error instanceof Error)) {
    return { errorType: typeof error, errorMessage: typeof error === "string" ? error : JSON.stringify(error) ?? String(error), stackTrace: [] };
  }
  return { errorType: error.name || "Error", errorMessage: error.message, stackTrace: (error.stack || "").split("\n") };
}

function failure(error) {
  const doc = report(error);
  return [JSON.stringify(doc), errorHeader(doc.errorType)];
}

function errorHeader(kind) {
  return `Lambda-Runtime-Function-Error-Type: ${String(kind).replace(/[^\x21-\x7e]/g, "?")}\r\n`;
}

// load returns the function that a handler of the form module.function names. Modules are CommonJS or
// ECMAScript modules, as Node.js itself decides.
async function load(handler) {
  const root = env.LAMBDA_TASK_ROOT;
  const dot = handler.lastIndexOf(".");
  const [module, name] = [handler.slice(0, dot), handler.slice(dot + 1)];
  const file = ["", ".js", ".mjs", ".cjs"].map((end) => join(root, module + end)).find((path) => existsSync(path));
  if (file === undefined) throw named("Runtime.ImportModuleError", `Cannot find module '${module}'`);
  const loaded = await import(pathToFileURL(file.endsWith("s") ? file : createRequire(join(root, "/")).resolve(file)));
  const found = loaded[name] ?? loaded.default?.[name];
  if (found === undefined) throw named("Runtime.HandlerNotFound", `${handler} is undefined or not exported`);
  if (typeof found !== "function") throw named("Runtime.HandlerNotFound", `${handler} is not a function`);
  return found;
}

function named(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

function makeContext(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"] || 0);
  return {
    callbackWaitsForEmptyEventLoop: true,
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
  };
}

// call runs a handler of any style: one that returns a value or a promise, or that calls back, through
// its third argument or through context.done, succeed and fail. When nothing is left that could call
// back, the answer is what a plain handler returned.
async function call(connection, handler, event, context) {
  let nothingLeft;
  connection.socket.unref(); // an idle connection must not look like work
  try {
    return await new Promise((resolve, reject) => {
      const callback = (error, result) => (error === null || error === undefined ? resolve(result) : reject(error));
      context.done = callback;
      context.succeed = resolve;
      context.fail = reject;
      const returned = handler(event, context, callback);
      if (typeof returned?.then === "function") returned.then(resolve, reject);
      else if (handler.length < 2) resolve(returned);
      nothingLeft = () => resolve(typeof returned?.then === "function" ? null : returned);
      process.once("beforeExit", nothingLeft);
    });
  } finally {
    if (nothingLeft) process.off("beforeExit", nothingLeft);
    connection.socket.ref();
  }
}

async function serve(connection, handler) {
  let next = connection.next();
  for (;;) {
    const { status, headers, body } = await next;
    if (status !== 200) process.exit(0);
    const path = `/invocation/${headers["lambda-runtime-aws-request-id"]}`;
    env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"] || "";
    let answer;
    try {
      const result = await call(connection, handler, JSON.parse(body), makeContext(headers));
      answer = [`${path}/response`, JSON.stringify(result) ?? "null", "Content-Type: application/json\r\n"];
    } catch (error) {
      console.error(error);
      answer = [`${path}/error`, ...failure(error)];
    }
    const taken = connection.post(...answer, ask); // one wait instead of two
    next = connection.answer();
    await taken;
  }
}

const connection = new Connection(env.AWS_LAMBDA_RUNTIME_API);
let handler;
try {
  handler = await load(env._HANDLER);
} catch (error) {
  console.error(error);
  await connection.post("/init/error", ...failure(error));
  process.exit(1);
}
await serve(connection, handler);
