// The transformation that the benchmark runs, as it is written for Amazon Data Firehose.

exports.handler = async (event) => ({
  records: event.records.map((record) => {
    const payload = JSON.parse(Buffer.from(record.data, "base64").toString("utf8"));
    payload.enriched = true;
    return { recordId: record.recordId, result: "Ok", data: Buffer.from(JSON.stringify(payload) + "\n").toString("base64") };
  }),
});

exports.echo = async (event) => event;
