"""Writes and reads CloudEvents with the official SDK, for tests/http_gateway/cloudevents.rs.

One command for each line on standard input, one answer for each on standard output, both JSON. Bytes are base64.

    {"do": "write", "over": "http" | "kafka", "mode": "binary" | "structured", "attributes": {...}, "data": ...}
        -> {"headers": {...}, "key": ..., "body": ...}
    {"do": "read", "headers": {...}, "key": ..., "body": ...}
        -> {"attributes": {...}, "data": ...}
"""

import base64
import json
import sys
from datetime import datetime

from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def in_base64(data):
    if data is None:
        return None
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def plain(value):
    return value.isoformat() if isinstance(value, datetime) else value


def shown(data):
    return {"base64": in_base64(bytes(data))} if isinstance(data, (bytes, bytearray)) else data


def write(command):
    attributes = dict(command["attributes"])
    if "time" in attributes:
        attributes["time"] = datetime.fromisoformat(attributes["time"])
    data = command["data"]
    if isinstance(data, dict) and "base64" in data:
        data = base64.b64decode(data["base64"])
    event = CloudEvent(attributes, data)
    binding = http if command["over"] == "http" else kafka
    to = binding.to_binary_event if command["mode"] == "binary" else binding.to_structured_event
    message = to(event)
    if command["over"] == "http":
        return {"headers": message.headers, "body": in_base64(message.body)}
    headers = {name: value.decode() for name, value in message.headers.items()}
    return {"headers": headers, "key": in_base64(message.key), "body": in_base64(message.value)}


def read(command):
    key = command["key"]
    message = kafka.KafkaMessage(
        headers={name: value.encode() for name, value in command["headers"].items()},
        key=None if key is None else base64.b64decode(key),
        value=base64.b64decode(command["body"] or ""),
    )
    is_structured = command["headers"].get("content-type", "").startswith("application/cloudevents")
    event = kafka.from_structured_event(message) if is_structured else kafka.from_binary_event(message)
    attributes = {name: plain(value) for name, value in event.get_attributes().items()}
    return {"attributes": attributes, "data": shown(event.get_data())}


for line in sys.stdin:
    command = json.loads(line)
    answer = write(command) if command["do"] == "write" else read(command)
    print(json.dumps(answer), flush=True)
