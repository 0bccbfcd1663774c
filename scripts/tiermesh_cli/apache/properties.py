"""The settings of a node, as Apache Kafka reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiermesh_contracts.topics import min_insync, replication_of


@dataclass(frozen=True, slots=True)
class Node:
    """One process that is broker and controller."""

    id: int
    """From 1."""
    port: int
    controller_port: int
    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "server.properties"

    @property
    def log_dir(self) -> Path:
        return self.folder / "log"


def server_properties(node: Node, nodes: Sequence[Node]) -> str:
    """`server.properties` of `node` among `nodes`: loopback only, small, topics never made on the way."""
    copies = str(replication_of(len(nodes)))
    insync = str(min_insync(replication_of(len(nodes))))
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(node.id),
        "controller.quorum.voters": ",".join(f"{n.id}@127.0.0.1:{n.controller_port}" for n in nodes),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(node.log_dir),
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": insync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": insync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": insync,
        # Fifty partitions of offsets are fifty elections when a broker of three dies.
        "offsets.topic.num.partitions": "6",
        "transaction.state.log.num.partitions": "2",
        # Groups need not wait for members that a test or a single machine does not have.
        "group.initial.rebalance.delay.ms": "0",
        # The broker's own six seconds would be the length of every test of a member that died.
        "group.min.session.timeout.ms": "1000",
        "broker.session.timeout.ms": "6000",
        "num.network.threads": "2",
        "num.io.threads": "4",
        # Its default of 128 MB is a third of the heap.
        "log.cleaner.dedupe.buffer.size": "8388608",
        "log.segment.bytes": "67108864",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
