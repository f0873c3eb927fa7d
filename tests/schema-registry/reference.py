"""Writes data by other people's codecs: fastavro, and Google's protobuf. Prints, as one JSON document, schemas, the data
in hexadecimal, and the JSON that they are to be shown as: for Avro as written here, for Protobuf as Google has it."""

import base64
import datetime
import decimal
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import uuid

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

UTC = datetime.timezone.utc
UUID = "0190b6d3-7e0a-7c3e-8f00-00000000000f"


def logical(kind, name, **more):
    return {"type": kind, "logicalType": name, **more}


def avro(name):
    fixed = {"type": "fixed", "name": "F3", "size": 3}
    types = {
        "boolean": "boolean",
        "int": "int",
        "long": "long",
        "float": "float",
        "double": "double",
        "bytes": "bytes",
        "string": "string",
        "fixed": fixed,
        "enum": {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        "array": {"type": "array", "items": {"type": "map", "values": ["null", "long"]}},
        "union": ["null", "int", "string", fixed["name"]],
        "decimal": logical("bytes", "decimal", precision=30, scale=4),
        "uuid": logical("string", "uuid"),
        "date": logical("int", "date"),
        "time": logical("int", "time-millis"),
        "micros": logical("long", "time-micros"),
        "at": logical("long", "timestamp-millis"),
        "at_micros": logical("long", "timestamp-micros"),
        "local": logical("long", "local-timestamp-millis"),
        "next": ["null", name],
    }
    schema = {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in types.items()]}
    first = {
        "boolean": True, "int": -(2**31), "long": 2**63 - 1, "float": 0.25, "double": -1e300,
        "bytes": bytes(range(250, 256)), "string": 'ü "\\\n\t\x01 🦀', "fixed": b"abc", "enum": "B",
        "array": [{"a": 1, "b": None}, {}], "union": ("F3", b"xyz"),
        "decimal": decimal.Decimal("-12345678901234567890.1234"), "uuid": uuid.UUID(UUID),
        "date": datetime.date(2026, 11, 29), "time": datetime.time(12, 30, 0, 1000),
        "micros": datetime.time(23, 59, 59, 999999),
        "at": datetime.datetime(2026, 11, 29, 12, 30, 0, 1000, UTC),
        "at_micros": datetime.datetime(1815, 12, 10, 0, 0, 0, 1, UTC),
        "local": datetime.datetime(2026, 11, 29, 12, 30, 0, 1000), "next": None,
    }
    view = {
        "boolean": True, "int": -(2**31), "long": 2**63 - 1, "float": 0.25, "double": -1e300,
        "bytes": base64.b64encode(first["bytes"]).decode(), "string": first["string"], "fixed": "YWJj", "enum": "B",
        "array": [{"a": 1, "b": None}, {}], "union": {"F3": "eHl6"}, "decimal": "-12345678901234567890.1234",
        "uuid": UUID, "date": "2026-11-29", "time": "12:30:00.001", "micros": "23:59:59.999999",
        "at": "2026-11-29T12:30:00.001Z", "at_micros": "1815-12-10T00:00:00.000001Z",
        "local": "2026-11-29T12:30:00.001", "next": None,
    }
    second = dict(first, union=7, next=first, decimal=decimal.Decimal("0.0001"), double=float("inf"))
    second_view = dict(view, union={"int": 7}, next=view, decimal="0.0001", double="Infinity")
    records = []
    for value, shown in [(first, view), (second, second_view)]:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), value)
        records.append({"data": out.getvalue().hex(), "view": shown})
    return {"format": "AVRO", "schema": json.dumps(schema), "records": records}


PROTO = """syntax = "proto3";
package %s;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Order {
  enum Kind { NONE = 0; LARGE = 1; }
  message Line { string line_name = 1; sint64 price = 2; }
  int32 an_int32 = 1; int64 an_int64 = 2; uint32 a_uint32 = 3; uint64 a_uint64 = 4; sint32 a_sint32 = 5;
  sint64 a_sint64 = 6; fixed32 a_fixed32 = 7; fixed64 a_fixed64 = 8; sfixed32 a_sfixed32 = 9;
  sfixed64 a_sfixed64 = 10; float a_float = 11; double a_double = 12; bool a_bool = 13; string a_string = 14;
  bytes some_bytes = 15; Kind kind = 16; repeated Line lines = 17; map<int64, Line> by_id = 18;
  optional int32 maybe = 19; oneof paid { string card = 20; bool cash = 21; } repeated sint32 numbers = 22;
  google.protobuf.Any any = 23; google.protobuf.Duration lasts = 24; google.protobuf.FieldMask mask = 25;
  google.protobuf.Struct more = 26; google.protobuf.Timestamp at = 27; google.protobuf.StringValue wrapped = 28;
  Order next = 29; google.protobuf.Value value = 30;
}
"""


def protobuf(package):
    text = PROTO % package
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "order.proto")
        file.write_text(text)
        described = pathlib.Path(folder, "described")
        import grpc_tools

        google = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{google}", "--include_imports",
             f"--descriptor_set_out={described}", str(file)], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    order = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Order"))
    line = {"@type": f"type.googleapis.com/{package}.Order.Line", "lineName": "x", "price": "-1"}
    views = [
        {"anInt32": -1, "anInt64": "-9007199254740993", "aUint32": 4294967295, "aUint64": "18446744073709551615",
         "aSint32": -5, "aSint64": "-6", "aFixed32": 7, "aFixed64": "8", "aSfixed32": -9, "aSfixed64": "-10",
         "aFloat": 0.25, "aDouble": 1e300, "aBool": True, "aString": 'ü "\\\n\x01 🦀', "someBytes": "+/8=",
         "kind": "LARGE", "lines": [{"lineName": "a", "price": "1"}, {}], "byId": {"-7": {"lineName": "b"}},
         "maybe": 0, "cash": False, "numbers": [1, -1], "any": line, "lasts": "-1.000000001s", "mask": "aB,c.dE",
         "more": {"a": [1.5, None, {"b": True}]}, "at": "2026-11-29T12:30:00.001Z", "wrapped": "",
         "next": {"anInt32": 1}, "value": None},
        {"aFloat": "NaN", "aDouble": "-Infinity", "card": "1234",
         "any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"}},
        {},
    ]
    records = []
    for view in views:
        message = json_format.ParseDict(view, order(), descriptor_pool=pool)
        shown = json_format.MessageToDict(message, descriptor_pool=pool)
        # Which message of the file it is stands before it: the first.
        data = b"\x00" + message.SerializeToString(deterministic=True)
        records.append({"data": data.hex(), "view": shown})
    return {"format": "PROTOBUF", "schema": text, "records": records}


print(json.dumps([avro(sys.argv[1]), protobuf(sys.argv[1].lower())]))
