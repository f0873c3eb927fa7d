"""What schemathesis needs to know of this host, for tests/http_gateway/contract.rs: a topic that exists, how lines of
JSON are written, and which values go together, which the document can only say in words."""

import json
import os
import zlib

import schemathesis

TOPIC = os.environ["MILLRACE_TOPIC"]
PARTITIONS = 2
# A broker refuses what lies in the future.
TIME_MAX = 1_700_000_000_000


def one_in(count, text):
    return zlib.crc32(repr(text).encode()) % count == 0


def below(limit, values, name):
    try:
        values[name] = str(abs(int(values[name])) % limit)
    except (KeyError, TypeError, ValueError):
        pass


@schemathesis.hook
def map_case(context, case):
    # One case in four stays as it was made up.
    made_up = repr((case.path_parameters, case.query, case.headers, case.media_type))
    if "topic" not in (case.path_parameters or {}) or one_in(4, made_up):
        return case
    if not one_in(8, made_up + "topic"):
        case.path_parameters["topic"] = TOPIC
    query, headers = case.query, case.headers
    if isinstance(query, dict):
        below(PARTITIONS, query, "partition")
        below(TIME_MAX, query, "timestamp_ms")
        if "ndjson" not in (case.media_type or ""):
            query.pop("envelope", None)
    for name, header in [("key", "Kafka-Key"), ("partition", "Kafka-Partition"), ("timestamp_ms", "Kafka-Timestamp")]:
        if name in (query or {}):
            headers.pop(header, None)
    below(PARTITIONS, headers, "Kafka-Partition")
    below(TIME_MAX, headers, "Kafka-Timestamp")
    headers.pop("Content-Encoding", None)
    if any(word in (case.media_type or "") for word in ("ndjson", "batch")):
        headers.pop("Idempotency-Key", None)
    attributes = [name for name in headers if name.lower().startswith("ce-")]
    if attributes and one_in(2, made_up + "attributes"):
        for name in attributes:
            del headers[name]
    elif attributes:
        for name in ("id", "source", "type"):
            headers.setdefault(f"ce-{name}", "made-up")
        headers["ce-specversion"] = "1.0"
    return case


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    if isinstance(value, list):
        return "\n".join(json.dumps(each) for each in value).encode()
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
