"""Sends booking requests in the ways that Confluent's client knows, one after the other.

send.py BOOTSTRAP_SERVERS REGISTRY_URL CASES

CASES is a file with a JSON list of {"how", "key", "type", "value"}; instants and dates in `value` are ISO texts.

| how | the record |
| --- | --- |
| topic | TopicNameStrategy, the client's default |
| union | a top-level union that refers to the schemas of both types |
| header | the schema's id in a header |
| guid | a GUID in a header, of a schema that the registry doesn't have |
| key, key-header | a key with a schema of its own, which is named before it or in a header |
| headers | a name twice, and a null value |
| undecodable | these headers, and a value that is no Avro |
| gzip, snappy, lz4, zstd | compressed |
| aborted | in a transaction that is aborted |
"""

import json
import sys
import uuid
from datetime import date, datetime
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "booking-requests"
PATIENCE_SECONDS = 60
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
FILES = {"BookingRequest": "booking_request.avsc", "CancellationRequest": "cancellation_request.avsc"}


def id_in_header(payload, ctx, schema_id):
    """Names the schema in a header by its id: Confluent's readers take that, and not every registry has GUIDs."""
    name = "__key_schema_id" if ctx.field == MessageField.KEY else "__value_schema_id"
    ctx.headers.append((name, schema_id.id_to_bytes()))
    return payload


def unknown_guid(payload, ctx, schema_id):
    """Names the schema as Confluent's own serializer does, by a GUID that nobody registered."""
    schema_id.guid = uuid.UUID("89791762-2336-4186-9674-299b90a802e2")
    return header_schema_id_serializer(payload, ctx, schema_id)


def union(registry):
    """Registers a union of both types that refers to them, as Confluent's documentation puts several types on one topic."""
    references = []
    for name, file in FILES.items():
        subject = f"interlock.{name}"
        registry.register_schema(subject, Schema((SCHEMAS / file).read_text(), "AVRO"))
        version = registry.get_latest_version(subject).version
        references.append(SchemaReference(subject, subject, version))
    names = json.dumps([reference.name for reference in references])
    return Schema(names, "AVRO", references)


def serializer(registry, how, name):
    if how == "union":
        return AvroSerializer(registry, union(registry))
    conf = {"header": {"schema.id.serializer": id_in_header}, "guid": {"schema.id.serializer": unknown_guid}}
    return AvroSerializer(registry, (SCHEMAS / FILES[name]).read_text(), conf=conf.get(how))


def key_of(registry, how, key, headers):
    if how not in ("key", "key-header"):
        return key
    conf = {"schema.id.serializer": id_in_header} if how == "key-header" else None
    serialize = AvroSerializer(registry, '"string"', conf=conf)
    return serialize(key, SerializationContext(TOPIC, MessageField.KEY, headers))


def typed(value):
    value = dict(value, travel_date=date.fromisoformat(value["travel_date"]))
    return dict(value, requested_at=datetime.fromisoformat(value["requested_at"]))


def main(bootstrap_servers, registry_url, cases):
    registry = SchemaRegistryClient({"url": registry_url})
    undelivered = []
    for case in json.loads(Path(cases).read_text()):
        how, name, value = case["how"], case["type"], typed(case["value"])
        config = {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random"}
        if how in ("gzip", "snappy", "lz4", "zstd"):
            config["compression.type"] = how
        if how == "aborted":
            config["transactional.id"] = "interop-aborted"
        headers = [("h", "1"), ("h", None), ("h", "2")] if how in ("headers", "undecodable") else []
        key = key_of(registry, how, case["key"], headers)
        ctx = SerializationContext(TOPIC, MessageField.VALUE, headers)
        serialize = serializer(registry, how, name)
        encoded = serialize((f"interlock.{name}", value) if how == "union" else value, ctx)
        producer = Producer(config)
        if how == "aborted":
            producer.init_transactions(PATIENCE_SECONDS)
            producer.begin_transaction()
        producer.produce(
            TOPIC,
            key=key,
            value=b"\x00\x00\x00" if how == "undecodable" else encoded,
            headers=headers,
            on_delivery=lambda error, _: error and undelivered.append(str(error)),
        )
        producer.flush(PATIENCE_SECONDS)
        if how == "aborted":
            producer.abort_transaction(PATIENCE_SECONDS)
    if undelivered:
        raise SystemExit(f"not sent: {undelivered}")
    print("sent")


main(*sys.argv[1:])
