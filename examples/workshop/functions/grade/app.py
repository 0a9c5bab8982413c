"""Grades inspections. Written for Amazon Data Firehose, and run by Tarn as it stands."""

import base64
import json


def handler(event, context):
    return {"records": [transform(record) for record in event["records"]]}


def transform(record):
    inspection = json.loads(base64.b64decode(record["data"]))
    if inspection.get("training"):
        return {"recordId": record["recordId"], "result": "Dropped", "data": record["data"]}
    worst = min(wheel["mm"] for wheel in inspection["wheels"])
    inspection["worst_mm"] = worst
    inspection["grade"] = "A" if worst >= 40 else "B" if worst >= 25 else "C"
    data = json.dumps(inspection).encode() + b"\n"
    return {"recordId": record["recordId"], "result": "Ok", "data": base64.b64encode(data).decode()}
