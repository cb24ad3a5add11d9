"""python_client.py -- another program at both ends of the stream: Confluent's Python client with its Avro serializer.

python_client.sh calls it:

    lines FILE          write the lines that `sluice ingest` is to read
    write STATE         write pairs into pairs.raw: today's schema, one that lacks a field, one with a field more, JSON,
                        and what nobody can read; note in STATE what was written where
    check STATE         read the final topics back, by readers of all three schemas, and compare

Brokers, prefix and registry come from the environment.
"""

import json
import os
import random
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

PREFIX = os.environ["PREFIX"]
RAW = PREFIX + "pairs.raw"
OURS, TODAY, OLD, NEW, JSON = 5, 20, 10, 10, 5
REMOVED, ADDED = "domain", "language"


def registry():
    conf = {"url": os.environ["REGISTRY_URL"]}
    if os.environ.get("REGISTRY_USER"):
        conf["basic.auth.user.info"] = os.environ["REGISTRY_USER"] + ":" + os.environ["REGISTRY_PASSWORD"]
    if os.environ.get("REGISTRY_CA"):
        conf["ssl.ca.location"] = os.environ["REGISTRY_CA"]
    return SchemaRegistryClient(conf)


def schemas():
    """Today's, an older one and a newer one, as text."""
    with open("schemas/pair.avsc", encoding="utf-8") as f:
        today = json.load(f)
    old = {**today, "fields": [f for f in today["fields"] if f["name"] != REMOVED]}
    new = {**today, "fields": [*today["fields"], {"name": ADDED, "type": ["null", "string"], "default": None}]}
    return {"today": json.dumps(today), "old": json.dumps(old), "new": json.dumps(new)}


def texts(number):
    """Prompt, chosen, rejected: unlike any other number's, so that dedupe finds nothing."""
    rng = random.Random(number)

    def words(n):
        return " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(7)) for _ in range(n))

    return words(30) + " é中?", words(20), words(20)


def json_pair(number, **more):
    prompt, chosen, rejected = texts(number)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def avro_pair(number, **more):
    prompt, chosen, rejected = texts(number)
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "meta": json.dumps({"number": number}),
        **more,
    }


def lines(path):
    with open(path, "w", encoding="utf-8") as f:
        for number in range(OURS):
            f.write(json.dumps(json_pair(number, meta={"number": number}), ensure_ascii=False) + "\n")


def write(state_path):
    client, texts_of = registry(), schemas()
    context = SerializationContext(RAW, MessageField.VALUE)
    serialize = {name: AvroSerializer(client, text) for name, text in texts_of.items()}
    values = []  # what, number, bytes
    number = OURS
    for name, count, more in (
        ("today", TODAY, {"source": "python", "domain": "letters", "id": "f" * 32}),
        ("old", OLD, {}),
        ("new", NEW, {ADDED: "en", "margin": 0.5}),
    ):
        for _ in range(count):
            values.append((name, number, serialize[name](avro_pair(number, **more), context)))
            number += 1
    for _ in range(JSON - 1):
        values.append(("json", number, json.dumps(json_pair(number, meta={"number": number})).encode()))
        number += 1
    values.append(("duplicate", 0, json.dumps(json_pair(0)).encode()))
    values.append(("gold", number, serialize["today"](avro_pair(number, gold={"label_arrived": "same"}), context)))
    values.append(("dead", -1, b"garbage"))
    values.append(("dead", -1, b"\0\x7f\xff\xff\xf0xyz"))
    values.append(("dead", -1, b'{"prompt":"q","response_a":"x","response_b":"y","winner":"tie"}'))
    wizard = avro_pair(-1)
    wizard["chosen"][0]["role"] = "wizard"
    values.append(("dead", -1, serialize["today"](wizard, context)))

    written = []

    def delivered(what, number, value):
        def done(error, message):
            if error:
                sys.exit(f"not delivered: {error}")
            written.append(
                {"what": what, "number": number, "value": value.hex(), "offset": message.offset(), "partition": message.partition()}
            )

        return done

    producer = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "enable.idempotence": True})
    for what, n, value in values:
        producer.produce(RAW, value, on_delivery=delivered(what, n, value))
    if producer.flush(60):
        sys.exit("the brokers do not take the records")

    broken = json.loads(texts_of["today"])
    broken["fields"].append({"name": "needed", "type": "long"})
    try:
        client.register_schema(RAW + "-value", Schema(json.dumps(broken), "AVRO"))
        sys.exit("the registry took a schema with a new field without default: the subject is not FULL_TRANSITIVE")
    except SchemaRegistryError as e:
        if e.http_status_code != 409:
            raise
    with open(state_path, "w", encoding="utf-8") as f:
        json.dump(written, f)
    print(f"wrote {len(written)} records")


def read(topic):
    """All committed records of a topic, to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
            "group.id": PREFIX + "python",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    messages, ends = [], 0
    while ends < len(partitions):
        message = consumer.poll(60)
        if message is None:
            sys.exit(f"{topic}: nothing within a minute")
        if not message.error():
            messages.append(message)
        elif message.error().name() == "_PARTITION_EOF":
            ends += 1
        else:
            sys.exit(f"{topic}: {message.error()}")
    consumer.close()
    return messages


def expect(what, expected, got):
    if expected != got:
        sys.exit(f"{what}: expected {expected!r}, got {got!r}")


def check_pair(pair, key, written):
    """What Sluice made of a pair that was written here."""
    number = json.loads(pair["meta"])["number"]
    prompt, chosen, rejected = texts(number)
    expect(f"prompt {number}", [("user", prompt)], [(m["role"], m["content"]) for m in pair["prompt"]])
    expect(f"chosen {number}", [("assistant", chosen)], [(m["role"], m["content"]) for m in pair["chosen"]])
    expect(f"rejected {number}", [("assistant", rejected)], [(m["role"], m["content"]) for m in pair["rejected"]])
    expect(f"key of {number}", bytes.fromhex(pair["id"]), key)
    expect(f"forged id of {number}", False, pair["id"] == "f" * 32)
    expect(f"steps of {number}", ["dedupe", "embed"], [t["step"] for t in pair["trail"]][:2])
    arrival = pair["arrival"]
    if number < OURS:
        expect(f"line of {number}", number + 1, arrival["line"])
        return
    w = written[number]
    expect(f"arrival of {number}", (RAW, w["partition"], w["offset"]), (arrival["topic"], arrival["partition"], arrival["offset"]))
    expect(f"source of {number}", "python" if w["what"] == "today" else "kafka", pair["source"])
    expect(f"margin of {number}", 0.5 if w["what"] == "new" else None, pair["margin"])


def check(state_path):
    with open(state_path, encoding="utf-8") as f:
        notes = json.load(f)
    written = {w["number"]: w for w in notes if w["number"] >= OURS}
    client, texts_of = registry(), schemas()
    readers = {"any": AvroDeserializer(client), **{name: AvroDeserializer(client, text) for name, text in texts_of.items()}}

    def decode(reader, message):
        return readers[reader](message.value(), SerializationContext(message.topic(), MessageField.VALUE))

    # The final topic, by readers of all ages.
    curated = read(PREFIX + "pairs.curated")
    numbers = set()
    for message in curated:
        pair = decode("any", message)
        check_pair(pair, message.key(), written)
        numbers.add(json.loads(pair["meta"])["number"])
        expect("action", "keep", pair["decision"]["action"])
        expect("today's reader", pair, decode("today", message))
        new, old = decode("new", message), decode("old", message)
        expect("the added field", None, new.pop(ADDED))
        expect("the newer reader", pair, new)
        domain = pair.pop(REMOVED)
        expect("the removed field", "letters" if pair["source"] == "python" else None, domain)
        expect("the older reader", pair, old)
    final = OURS + TODAY + OLD + NEW + JSON - 1
    expect("pairs in pairs.curated", set(range(final)), numbers)
    expect("records in pairs.curated", final, len(curated))

    expect("pairs in pairs.duplicate", [texts(0)[0]], [decode("any", m)["prompt"][0]["content"] for m in read(PREFIX + "pairs.duplicate")])
    gold = [decode("any", m) for m in read(PREFIX + "pairs.gold")]
    expect("gold pairs", [("chosen", "given", "same", 1)], [tuple(g["gold"][k] for k in ("verdict", "sample", "label_arrived", "sequence")) for g in gold])

    # What nobody can read is kept as it came.
    dead = {}
    for message in read(PREFIX + "dead.dedupe"):
        headers = {k: v.decode() for k, v in message.headers()}
        expect("topic of a dead letter", "pairs.raw", headers["__connect.errors.topic"])  # as the topology calls it
        dead[int(headers["__connect.errors.offset"])] = message.value()
        print("dead letter:", headers["__connect.errors.exception.message"])
    expect("dead letters", {w["offset"]: bytes.fromhex(w["value"]) for w in notes if w["what"] == "dead"}, dead)

    # The raw topic holds all three schemas: each reader reads each.
    raw = [m for m in read(RAW) if m.value()[:1] == b"\0" and m.offset() not in dead]
    for reader in ("old", "today", "new"):
        expect(f"raw pairs of the {reader} reader", OURS + TODAY + OLD + NEW + 1, len([decode(reader, m) for m in raw]))
    level = client.get_compatibility(PREFIX + "pairs.curated-value")
    expect("compatibility", "FULL_TRANSITIVE", level)
    print(f"read {len(curated)} curated pairs back")


if __name__ == "__main__":
    {"lines": lines, "write": write, "check": check}[sys.argv[1]](sys.argv[2])
