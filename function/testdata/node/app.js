// CommonJS handlers in every style that AWS Lambda knows.

exports.handler = async (event) => ({
  records: event.records.map((record) => {
    const payload = JSON.parse(Buffer.from(record.data, "base64").toString("utf8"));
    payload.enriched = true;
    return { recordId: record.recordId, result: "Ok", data: Buffer.from(JSON.stringify(payload) + "\n").toString("base64") };
  }),
});

exports.echo = async (event) => event;

exports.callback = (event, context, callback) => setTimeout(() => callback(null, { called: event.n }), 5);

exports.succeed = (event, context) => setTimeout(() => context.succeed("old style"), 1);

exports.plain = (event) => ({ plain: event.n });

exports.about = async (event, context) => ({
  name: context.functionName,
  request: context.awsRequestId,
  memory: context.memoryLimitInMB,
  remaining: context.getRemainingTimeInMillis(),
  arn: context.invokedFunctionArn,
});

exports.raise = async () => {
  throw new RangeError("too far");
};

exports.fail = (event, context, callback) => callback(new TypeError("called back with an error"));

exports.text = async () => {
  throw "only text";
};

exports.crash = () => {
  setTimeout(() => {
    throw new Error("nobody catches this");
  }, 1);
  return new Promise(() => {});
};

exports.print = async (event) => {
  console.log("out", event.n);
  console.error("err", event.n);
};

exports.nothing = async () => {};

exports.plain2 = (event, context) => ({ plain: context.functionName });

exports.forgets = (event, context, callback) => {};

exports.bit = async (n) => {
  process.stdout.write(`bit ${n}`);
};

// act does what the event says.
exports.act = async (event) => {
  console.log(`ran ${event.n}`);
  if (event.sleep) await new Promise((resolve) => setTimeout(resolve, event.sleep));
  if (event.exit) process.exit(event.exit);
  if (event.raise) throw new Error(event.raise);
  if (event.leave) setImmediate(() => process.exit(0)); // right behind the answer
  console.log(`end ${event.n}`);
  return { n: event.n };
};

// Answers that are not simply written one after the other.
const list = (n, value) => Array.from({ length: n }, (_, i) => value ?? i);
class Own {
  toJSON() {
    return { own: true };
  }
}
class Key {
  toJSON(key) {
    return `key ${key}`;
  }
}
let reads = 0;
const shapes = {
  short: { records: list(128) },
  long: { first: undefined, records: list(129), then: { at: new Date(0) } },
  groups: { a: list(256), "b\"ü": list(1000, "ü€😀"), c: list(257, { x: [1, { y: null }] }) },
  odd: { records: Object.assign(list(300), { 5: undefined, 7: () => 1, 9: NaN, 11: new Own(), 13: Symbol("s"), 200: Infinity }), [Symbol("left out")]: 1 },
  holes: { records: new Array(400) },
  own: { records: Object.assign(list(300), { toJSON: () => "a list" }), other: list(300) },
  top: list(500),
  wide: { records: list(300, "\ud800 alone \u2028") },
  nothing: {},
  nested: { a: { records: list(300) } },
  map: new Map([[1, 2]]),
  elementKeys: { first: 1, records: Object.assign(list(300, 1), { 290: new Key() }) },
  memberKeys: { a: new Key(), records: list(300), then: { b: new Key(), c: [1, new Key()] }, 7: new Key() },
  innerKeys: { records: list(300, { a: new Key(), b: [1, new Key()] }) },
  getter: { records: list(300), get reads() { return ++reads; } },
  boxed: { records: list(300, new String("boxed")), n: new Number(1), b: new Boolean(false) },
  boxedTop: Object.assign(new String("boxed"), { records: list(300) }),
  proxy: { records: new Proxy(list(300), { get: (target, name) => (name === "7" ? "seven" : target[name]) }) },
  proxyTop: new Proxy({ records: list(300) }, { ownKeys: () => ["records"] }),
  notAList: { records: Object.assign(Object.create(Array.prototype), { length: 300, 0: "x" }) },
  subclass: { records: (class extends Array {}).from(list(300)) },
  ownMethods: { records: Object.assign(list(300), { slice: () => [], constructor: null }) },
  shadowed: { records: Object.assign(list(300), { toJSON: undefined }), toJSON: 1 },
  proto: { records: list(300), ["__proto__"]: 1 },
  hidden: Object.defineProperty({ a: 1 }, "records", { value: list(300) }),
  members: Object.assign({ records: list(300) }, list(1000)),
  bigint: { records: list(300, 1n) },
  innerBigint: { a: 1, records: list(300), then: { n: 1n } },
};

// Libraries change what JSON.stringify does for every value. Other shapes come before these.
const changes = {
  bigints: () => (BigInt.prototype.toJSON = (key) => `big ${key}`),
  lists: () => (Array.prototype.toJSON = function (key) { return { key, length: this.length }; }),
  objects: () => (Object.prototype.toJSON = (key) => `changed ${key}`),
};
const made = (shape, change) => {
  changes[change]?.();
  return shapes[shape];
};
exports.shape = async ({ shape, change }) => made(shape, change);
exports.shapeAsText = async ({ shape, change }) => JSON.stringify(made(shape, change));
exports.circle = async () => {
  const answer = { records: list(300) };
  answer.records[299] = answer;
  return answer;
};
exports.heapLimit = async () => require("node:v8").getHeapStatistics().heap_size_limit;
