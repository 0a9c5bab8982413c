"""The transformation that the benchmark runs, as it is written for Amazon Data Firehose."""

import base64
import json


def handler(event, context):
    output = []
    for record in event["records"]:
        payload = json.loads(base64.b64decode(record["data"]))
        payload["enriched"] = True
        data = base64.b64encode((json.dumps(payload) + "\n").encode()).decode()
        output.append({"recordId": record["recordId"], "result": "Ok", "data": data})
    return {"records": output}


def echo(event, context):
    return event
