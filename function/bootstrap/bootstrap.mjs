// Loads a Node.js handler and speaks the AWS Lambda Runtime API for it over one kept connection.

import * as buffer from "node:buffer";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { types } from "node:util";

const env = process.env;
const prefix = "/2018-06-01/runtime";

const headRoom = 4096; // bytes of a request before its body
const group = 128; // elements of a list that become text at once
const ask = `GET ${prefix}/invocation/next HTTP/1.1\r\nHost: ${env.AWS_LAMBDA_RUNTIME_API}\r\n\r\n`;

// Connection is HTTP/1.1 as far as the Runtime API needs it: answers have a length and come in the order
// of the requests. What is sent and received passes through two buffers that are kept, because fresh
// memory for every event costs more than the system calls.
class Connection {
  constructor(address) {
    this.address = address;
    const [host, port] = address.split(":");
    this.out = Buffer.allocUnsafe(1 << 16);
    this.end = 0; // of what out holds
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

  // post sends what encode wrote, and right behind it what comes then. It resolves with the answer to it.
  post(path, headers, then = "") {
    const head = `POST ${prefix}${path} HTTP/1.1\r\nHost: ${this.address}\r\n${headers}Content-Length: ${this.end - headRoom}\r\n\r\n`;
    const start = headRoom - head.length;
    this.out.latin1Write(head, start);
    this.write(then);
    this.socket.write(this.out.subarray(start, this.end)); // free again when the answer is here
    return this.answer();
  }

  // encode puts the JSON of a value into the buffer and leaves room before it. A long list in an object, such
  // as the records of a transformation, is written in groups: one large text costs fresh memory twice.
  encode(value) {
    this.end = headRoom;
    if (!inGroups(value)) return this.write(JSON.stringify(value) ?? "null");
    let before = "{";
    for (const [name, member] of Object.entries(value)) {
      const text = JSON.stringify({ [name]: long(member) ? [] : member }).slice(1, -1);
      if (text === "") continue; // JSON has no functions, for example
      this.write(before + text);
      if (long(member)) this.writeList(member);
      before = ",";
    }
    this.write("}");
  }

  // writeList fills the empty list that the buffer ends with.
  writeList(list) {
    let before = 2; // characters of "[]", and then the "]" of the group before
    for (let i = 0; i < list.length; i += group) {
      this.end -= before;
      const start = this.end;
      const part = [];
      for (let j = i; j < Math.min(i + group, list.length); j++) part.push(list[j]);
      this.write(JSON.stringify(part));
      if (i > 0) this.out.latin1Write(",", start);
      before = 1;
    }
  }

  // write puts a text behind what the buffer holds.
  write(text) {
    for (let wide = 1; ; wide = 3) { // most texts are ASCII; no character takes more than three bytes
      const size = this.end + wide * text.length + 4; // a text cut short is still longer than one of ASCII
      if (this.out.length < size) {
        const larger = Buffer.allocUnsafe(size + (size >> 1));
        this.out.copy(larger, 0, 0, this.end);
        this.out = larger;
      }
      const length = this.out.utf8Write(text, this.end);
      if (length === text.length || wide === 3) {
        this.end += length;
        return;
      }
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

// inGroups reports whether a value can be written in groups and is then the same as JSON.stringify makes it:
// an object with long lists of elements that do not ask for their index.
function inGroups(value) {
  if (!plain(value, Object.prototype)) return false;
  const names = Object.keys(value);
  if (names.length > group) return false; // looking at each would cost more than it saves
  const members = names.map((name) => Object.getOwnPropertyDescriptor(value, name));
  const lists = members.map((member) => member.value).filter(long);
  return lists.length > 0 && !members.some((member) => member.get) && !lists.some(asksForIndex);
}

// plain reports whether a value is of a kind that JSON.stringify writes member by member.
function plain(value, kind) {
  return typeof value === "object" && value !== null && !types.isProxy(value) && Object.getPrototypeOf(value) === kind && !("toJSON" in value);
}

// long reports whether a value is a list of several groups.
function long(value) {
  return Array.isArray(value) && value.length > group;
}

// asksForIndex reports whether JSON.stringify would call a list's method, or one of its elements with an index.
function asksForIndex(list) {
  if (!plain(list, Array.prototype)) return true;
  for (let i = 0; i < list.length; i++) {
    if (list[i]?.toJSON !== undefined) return true;
  }
  return false;
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

// fail posts an error.
function fail(connection, path, error, then) {
  const doc = report(error);
  connection.encode(doc);
  return connection.post(path, errorHeader(doc.errorType), then);
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
    let taken;
    try {
      connection.encode(await call(connection, handler, JSON.parse(body), makeContext(headers)));
      taken = connection.post(`${path}/response`, "Content-Type: application/json\r\n", ask); // one wait instead of two
    } catch (error) {
      console.error(error);
      taken = fail(connection, `${path}/error`, error, ask);
    }
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
  await fail(connection, "/init/error", error);
  process.exit(1);
}
await serve(connection, handler);
