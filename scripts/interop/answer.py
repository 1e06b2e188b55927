"""Reads a topic as any client may, until the answer to a request comes, and prints it as JSON.

answer.py BOOTSTRAP_SERVERS REGISTRY_URL TOPIC REQUEST_ID
"""

import json
import sys
import time
import uuid

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

PATIENCE_SECONDS = 90


def main(bootstrap_servers, registry_url, topic, request_id):
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry_url}))
    consumer = Consumer({
        "bootstrap.servers": bootstrap_servers,
        "group.id": f"interop-{uuid.uuid4()}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    })
    consumer.subscribe([topic])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise SystemExit(f"{topic}: {message.error()}")
        event = deserialize(message.value(), SerializationContext(topic, MessageField.VALUE))
        if event["cause_request_id"] == request_id:
            print(json.dumps({"key": message.key().decode(), "partition": message.partition(), "event": event}, default=str))
            consumer.close()
            return
    raise SystemExit(f"no answer to {request_id} in {topic} after {PATIENCE_SECONDS} s")


main(*sys.argv[1:])
