"""The well-known Firehose transformation, as people have it."""

import base64
import json


def handler(event, context):
    output = []
    for record in event["records"]:
        payload = json.loads(base64.b64decode(record["data"]))
        payload["enriched"] = True
        output.append(
            {
                "recordId": record["recordId"],
                "result": "Ok",
                "data": base64.b64encode((json.dumps(payload) + "\n").encode("utf-8")).decode("utf-8"),
            }
        )
    return {"records": output}


def echo(event, context):
    return event
