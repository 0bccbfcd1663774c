"""Where Apache Kafka and Redis come from, and what people are told who lack something."""

from pathlib import Path

import pytest

from tiermesh_cli.apache import fetch as fetching
from tiermesh_cli.apache.cluster import Cluster
from tiermesh_cli.apache.fetch import KafkaMissing, fetch, java_binary, kafka_home
from tiermesh_cli.apache.redis import RedisMissing, redis_binary


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH but what the test puts there; Kafka not fetched yet."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("TIERMESH_KAFKA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path / "bin"


def test_what_is_missing_is_named_in_one_line(bare: Path) -> None:
    """Somebody without Java would see a traceback, or a broker that is never ready."""
    with pytest.raises(KafkaMissing, match="needs Java 17"):
        java_binary()
    with pytest.raises(KafkaMissing, match="no mvn on PATH"):
        fetch()
    with pytest.raises(RedisMissing, match="apt-get install redis-server"):
        redis_binary()


def test_an_old_java_is_refused(bare: Path) -> None:
    """Kafka would end with an UnsupportedClassVersionError that names no remedy."""
    program(bare, "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    with pytest.raises(KafkaMissing, match=r"17 or newer; .*11\.0\.2"):
        java_binary()


def test_mavens_reason_is_passed_on_and_nothing_is_left(bare: Path) -> None:
    """Half a Kafka would be taken for a whole one by the next run."""
    program(bare, "mvn", "echo '[INFO] x'; echo '[ERROR] no route to the repository'; exit 1")
    with pytest.raises(KafkaMissing, match="no route to the repository"):
        fetch()
    assert list(kafka_home().iterdir()) == []


def test_an_unpacked_distribution_is_taken_as_it_is(bare: Path) -> None:
    """Without Maven there would be no way at all."""
    libs = kafka_home() / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka_2.13-4.2.0.jar").touch()
    assert fetch() == libs


def test_another_pom_is_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After an upgrade the old version would still be started."""
    monkeypatch.delenv("TIERMESH_KAFKA_HOME", raising=False)
    before = kafka_home()
    monkeypatch.setattr(fetching, "POM", tmp_path / "pom.xml")
    fetching.POM.write_text("<project/>")
    assert kafka_home().parent == before.parent
    assert kafka_home() != before


async def test_a_cluster_of_two_is_refused(tmp_path: Path) -> None:
    """Two controllers have no majority without each other: it would be worse than one."""
    with pytest.raises(ValueError, match="1 or 3"):
        await Cluster.start(tmp_path, tmp_path, brokers=2)
