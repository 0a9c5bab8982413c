// Loads a Node.js handler and speaks the AWS Lambda Runtime API for it over one kept connection.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const env = process.env;
const prefix = "/2018-06-01/runtime";

// Connection is HTTP/1.1 as far as the Runtime API needs it: one request at a time, answers with a length.
class Connection {
  constructor(address) {
    this.address = address;
    const [host, port] = address.split(":");
    this.socket = connect({ host, port: Number(port || 80), noDelay: true });
    this.chunks = [];
    this.size = 0;
    this.head = null;
    this.waiting = [];
    this.socket.on("data", (chunk) => this.receive(chunk));
    this.socket.on("error", (error) => this.fail(error));
    this.socket.on("close", () => this.fail(new Error("the host closed the connection")));
  }

  // request sends one request and resolves with its answer. Requests may be sent before earlier ones
  // are answered; answers come in the same order.
  request(method, path, body = Buffer.alloc(0), headers = "") {
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      const head = `${method} ${prefix}${path} HTTP/1.1\r\nHost: ${this.address}\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
      if (this.socket.writableCorked === 0) {
        this.socket.cork(); // what is sent in one go leaves in one go
        process.nextTick(() => this.socket.uncork());
      }
      this.socket.write(head, "latin1");
      if (body.length > 0) this.socket.write(body);
    });
  }

  receive(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.length;
    for (;;) {
      if (this.head === null) this.readHead();
      if (this.head === null || this.size < this.head.end + this.head.length) return;
      const data = this.all();
      const { status, headers, end, length } = this.head;
      this.head = null;
      const rest = data.subarray(end + length);
      this.chunks = rest.length > 0 ? [rest] : [];
      this.size = rest.length;
      this.waiting.shift().resolve({ status, headers, body: data.subarray(end, end + length) });
    }
  }

  all() {
    return this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks, this.size);
  }

  readHead() {
    if (this.size === 0) return;
    const data = this.all();
    this.chunks = [data];
    const end = data.indexOf("\r\n\r\n");
    if (end < 0) return;
    const lines = data.toString("latin1", 0, end).split("\r\n");
    const headers = {};
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(":");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    this.head = {
      status: Number(lines[0].split(" ")[1]),
      headers,
      end: end + 4,
      length: Number(headers["content-length"] || 0),
    };
  }

  fail(error) {
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
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
  return [Buffer.from(JSON.stringify(doc)), errorHeader(doc.errorType)];
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
  let next = connection.request("GET", "/invocation/next");
  for (;;) {
    const { status, headers, body } = await next;
    if (status !== 200) process.exit(0);
    const path = `/invocation/${headers["lambda-runtime-aws-request-id"]}`;
    env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"] || "";
    let answer;
    try {
      const result = await call(connection, handler, JSON.parse(body), makeContext(headers));
      answer = [`${path}/response`, Buffer.from(JSON.stringify(result) ?? "null"), "Content-Type: application/json\r\n"];
    } catch (error) {
      console.error(error);
      answer = [`${path}/error`, ...failure(error)];
    }
    const taken = connection.request("POST", ...answer);
    next = connection.request("GET", "/invocation/next"); // right behind the answer: one wait instead of two
    await taken;
  }
}

const connection = new Connection(env.AWS_LAMBDA_RUNTIME_API);
let handler;
try {
  handler = await load(env._HANDLER);
} catch (error) {
  console.error(error);
  await connection.request("POST", "/init/error", ...failure(error));
  process.exit(1);
}
await serve(connection, handler);
