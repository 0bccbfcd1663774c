import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiermesh_cli.upkeep import RESTARTS_MAX, RESTARTS_WINDOW_S, Restarts

NOWHERE = "127.0.0.1:1"


def tiermesh(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The real command, without the environment of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIERMESH_")}
    return subprocess.run(
        [sys.executable, "-m", "tiermesh_cli", *args],
        cwd=cwd,
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def failed_with(done: subprocess.CompletedProcess[str], why: str, status: int) -> None:
    assert done.returncode == status, done.stderr
    assert why in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


def test_help_names_every_subcommand(tmp_path: Path) -> None:
    """Breaks if a subcommand is not registered, or one of their files cannot be imported."""
    done = tiermesh("--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("demo", "up", "run", "send", "train", "evaluate", "budget", "topics", "frontier-sim"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("run", "frontier"), "there are router, local-inference, budget-guard, escalation"),
        (("up", "--kafka", "10.0.0.1:9092"), "name a broker by TIERMESH_KAFKA"),
        (("up", "--embedded", "--kafka", "local"), "choose one"),
        (("up",), "no configuration"),
        (("up", "--embedded", "--only", "router,writer"), "no service writer"),
        (("up", "--state-dir", "s"), "use it with --embedded"),
        (("send",), "give a TEXT or --file"),
        (("topics", "create"), "set TIERMESH_KAFKA"),
        (("frontier-sim", "--fault", "hang"), "write NAME=RATE"),
        (("frontier-sim", "--accuracy", "2"), "accuracy=2.0 is not in 0..1"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(tmp_path: Path, args: tuple[str, ...], why: str) -> None:
    """Breaks if somebody who mistypes sees a traceback, or a script cannot tell it from a failed run."""
    failed_with(tiermesh(*args, cwd=tmp_path), why, 2)


def test_real_money_is_not_spent_on_a_ledger_that_dies(tmp_path: Path) -> None:
    """Breaks if an embedded mesh, whose ledger is in memory, may call a provider that bills."""
    (tmp_path / "mesh.toml").write_text(
        '[[providers]]\nname = "p"\nbase_url = "https://provider.example/v1"\nmodels = [{ name = "m" }]\n'
        '[[budgets]]\nscope = "org"\nwindow = "month"\nlimit_usd = 1\n'
    )
    failed_with(tiermesh("up", "--embedded", cwd=tmp_path), "give --state-dir", 2)


def test_a_wrong_configuration_names_key_and_line(tmp_path: Path) -> None:
    """Breaks if the services are started, one by one, to find out what the file says at once."""
    (tmp_path / "mesh.toml").write_text('org = "o"\nlimt = 3\n')
    failed_with(tiermesh("up", "--embedded", cwd=tmp_path), "line 2: unknown key 'limt'", 1)


def test_no_broker_is_one_line(tmp_path: Path) -> None:
    """Breaks if a broker that is down shows as a traceback, or the client's own log stands beside the line."""
    failed_with(tiermesh("send", "hello", cwd=tmp_path, TIERMESH_KAFKA=NOWHERE), "no Kafka broker answers", 1)
    failed_with(tiermesh("topics", "create", cwd=tmp_path, TIERMESH_KAFKA=NOWHERE), "no Kafka broker answers", 1)


def test_a_bad_row_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    """Breaks if half a file is published before its bad row is seen: the broker here does not even exist."""
    (tmp_path / "f.jsonl").write_text('{"text": "fine"}\n{"txt": "typo"}\n')
    done = tiermesh("send", "--file", "f.jsonl", cwd=tmp_path, TIERMESH_KAFKA=NOWHERE)
    failed_with(done, "f.jsonl:2: unknown field 'txt'", 1)


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """Breaks if a service without its dependencies ends in a traceback instead of the command that helps."""
    code = "import sys; sys.modules['faststream'] = None; from tiermesh_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "router"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    failed_with(done, "pip install 'tiermesh[router]'", 1)


def test_topics_are_created_once(tmp_path: Path, kafka: str) -> None:
    """Breaks if a tenant's result topic is not made, or creating again fails."""
    args = ("topics", "create", "--tenant", "newcomer", "--json")
    first = json.loads(tiermesh(*args, cwd=tmp_path, TIERMESH_KAFKA=kafka).stdout.splitlines()[-1])
    again = json.loads(tiermesh(*args, cwd=tmp_path, TIERMESH_KAFKA=kafka).stdout.splitlines()[-1])
    assert first["created"] == ["mesh.results.newcomer.v1"]
    assert again["created"] == []


def test_train_and_evaluate_speak_json(tmp_path: Path) -> None:
    """Breaks if a model trained by the command cannot be read by it, or a bad file does not name its line."""
    words = {"pay": ("invoice", "charge", "refund", "bill"), "fly": ("plane", "airport", "gate", "pilot")}
    lines = [
        json.dumps({"text": f"{how} the {word}", "label": label})
        for label, group in words.items()
        for word in group
        for how in ("where is", "I need", "show me")
    ]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    trained = tiermesh("train", "--examples", "e.jsonl", "--out", "m/trips", "--json", cwd=tmp_path)
    assert json.loads(trained.stdout.splitlines()[-1])["labels"] == 2, trained.stderr
    judged = tiermesh("evaluate", "--model", "m/trips", "--examples", "e.jsonl", "--json", cwd=tmp_path)
    assert json.loads(judged.stdout.splitlines()[-1])["accuracy"] > 0.9
    (tmp_path / "bad.jsonl").write_text('{"text": "x"}\n')
    failed_with(tiermesh("train", "--examples", "bad.jsonl", "--out", "m/bad", cwd=tmp_path), "bad.jsonl:1: ", 1)


def test_restarts_have_a_bound() -> None:
    """Breaks if a service that cannot run is started for ever, or one that fails once a day is given up."""
    restarts = Restarts()
    assert all(restarts.allow(float(second)) for second in range(RESTARTS_MAX))
    assert not restarts.allow(RESTARTS_MAX)
    assert restarts.allow(RESTARTS_WINDOW_S)
