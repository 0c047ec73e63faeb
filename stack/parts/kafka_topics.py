"""Waits until each partition of the topics has a leader; with --make, makes those that are absent.

usage: kafka_topics.py [--make] BROKERS TOPIC...
"""

import sys
import time

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 12
CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * 24 * 3600 * 1000),
    # Larger than the largest body (1 MiB) with its headers, with room for objects that are fetched.
    "max.message.bytes": str(4 * 1024 * 1024),
}


def make(admin: AdminClient, topics: list[str]) -> None:
    wanted = [
        NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1, config=CONFIG)
        for topic in topics
    ]
    for made in admin.create_topics(wanted, operation_timeout=10).values():
        try:
            made.result(timeout=20)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def await_leaders(admin: AdminClient, topic: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        answer = admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic]
        partitions = answer.result(timeout=10).partitions
        if partitions and all(p.leader is not None and p.leader.id >= 0 for p in partitions):
            return
        if time.monotonic() > deadline:
            sys.exit(f"topic {topic} has partitions without a leader")
        time.sleep(0.05)


def main(*arguments: str) -> None:
    brokers, *topics = (argument for argument in arguments if argument != "--make")
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    if "--make" in arguments:
        make(admin, topics)
    for topic in topics:
        await_leaders(admin, topic)


try:
    main(*sys.argv[1:])
except KafkaException as error:
    sys.exit(f"Kafka: {error.args[0].str()}")
