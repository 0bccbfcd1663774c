"""Many processes, one scope, room for exactly seven."""

import json
import os
import subprocess
import sys
from pathlib import Path

from fakes.books import Desk, folded

ROOM, AMOUNT, PROCESSES, ATTEMPTS = 7, 10, 8, 25
SCRIPT = Path(__file__).parent / "reserve_many.py"
TESTS = Path(__file__).parents[2]


def test_of_two_hundred_reservations_exactly_seven_find_money_and_retries_learn_the_first_answer(desk: Desk):
    """Check and increment in two steps, or a repeat that holds again, would spend more than there is."""
    desk.limits(("org", "lifetime", 1_000_000), ("tenant", "lifetime", ROOM * AMOUNT + AMOUNT - 1))
    url = desk.store.connection_pool.connection_kwargs
    at = f"redis://{url['host']}:{url['port']}/{url['db']}"
    atts = [[f"{p:032x}{n:032x}" for n in range(ATTEMPTS)] for p in range(PROCESSES)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), at, desk.org, *some],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        for some in atts
    ]
    try:
        assert [p.stdout.readline().strip() for p in processes] == ["ready"] * PROCESSES
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        replies = {}
        for process in processes:
            out, _ = process.communicate(timeout=60)
            replies.update(json.loads(out))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert len(replies) == PROCESSES * ATTEMPTS
    granted = {att: pair for att, pair in replies.items() if pair[0][0] == "held"}
    assert len(granted) == ROOM
    assert all(first == again for first, again in replies.values())
    refused = [pair[0] for att, pair in replies.items() if att not in granted]
    assert refused == [["no_money", "tenant:acme", "lifetime"]] * (PROCESSES * ATTEMPTS - ROOM)
    assert desk.sums("org") == desk.sums("tenant:acme") == (ROOM * AMOUNT, 0, 0)
    held = [e for e in desk.entries() if e.att]
    assert {e.att for e in held} == set(granted)
    assert len(held) == ROOM
    assert folded(desk.entries()) == desk.all_sums()
