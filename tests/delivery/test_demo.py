"""The demo as people run it: all processes, all laws, one JSON object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LASTS_S_MAX = 150
"""Ends a demo that hangs; says nothing of how long one takes."""


@pytest.mark.timeout(LASTS_S_MAX + 20)
def test_the_demo_holds_every_law(tmp_path: Path):
    """The first thing that people run would fail, or would pass without showing what it is there to show."""
    done = subprocess.run(
        [sys.executable, "-m", "tiermesh_cli", "demo", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LASTS_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["requests"] == report["terminal"] == 500
    assert (report["lost"], report["conflicting"], report["private_requests_sent_out"]) == (0, 0, 0)
    assert report["laws"] == dict.fromkeys(("I1", "I2", "I3", "I4", "I5", "drained", "private"), True)
    assert report["breaches"] == []
    assert report["simulated"] is True
    assert report["limit_at_first_usd_nanos"] < report["posted_usd_nanos"] <= report["limit_usd_nanos"]
    assert report["limit_usd_nanos"] == report["raised_usd_nanos"]
    assert report["bill_usd_nanos"] == report["posted_usd_nanos"]
    assert report["held_usd_nanos"] == 0
    assert min(report["deferred_then_answered"], report["degraded"], report["refused"]) >= 1
    assert report["accuracy_local"] >= 0.85
    assert report["escalated_share_uncovered"] >= 0.60
    assert report["escalated_share_covered"] <= 0.15


def test_too_few_requests_are_refused_in_one_line(tmp_path: Path):
    """A run in which money cannot be short would fail at its end, after half a minute, without saying why."""
    done = subprocess.run(
        [sys.executable, "-m", "tiermesh_cli", "demo", "--requests", "5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "100" in done.stderr
    assert not list(tmp_path.iterdir())
