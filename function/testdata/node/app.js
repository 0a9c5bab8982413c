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
