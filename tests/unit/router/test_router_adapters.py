from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakes.trained import write_model
from tiermesh_chassis.config import MeshConfig
from tiermesh_chassis.errors import DependencyMissing
from tiermesh_chassis.service import Boot
from tiermesh_chassis.settings import Environment
from tiermesh_contracts.brokers import EMBEDDED
from tiermesh_contracts.requests import AUTO
from tiermesh_modelkit.runtime import ClassifierModel
from tiermesh_router.adapters import UNREAD_SCORE, BatchedScopeScores, open_models
from tiermesh_router.app import create_app
from tiermesh_router.model import TaskScore, Unscored

NEVER_MS = 10**15


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in ("parcels", "weather"):
        write_model(folder, task)
    return folder


@pytest.fixture
async def scores(root: Path) -> AsyncIterator[BatchedScopeScores]:
    made = BatchedScopeScores(open_models(root), clock=lambda: 1_000, batch_tokens_max=1_000, waiting_max=4)
    yield made
    await made.close()


async def scored(scores: BatchedScopeScores, text: str, task: str = AUTO) -> dict[str, TaskScore]:
    answer = await scores.score(text, task, NEVER_MS)
    assert isinstance(answer, tuple)
    return {score.task: score for score in answer}


async def test_the_task_a_text_belongs_to_has_the_larger_margin(scores: BatchedScopeScores) -> None:
    """Requests would reach a model of another task, and be answered by it."""
    parcel = await scored(scores, "my parcel was lost by the courier")
    rain = await scored(scores, "how much rain is forecast for tomorrow")
    assert parcel["parcels"].margin > parcel["weather"].margin
    assert rain["weather"].margin > rain["parcels"].margin
    assert parcel["parcels"].labels == ("broken", "lost")


async def test_a_named_task_is_scored_alone(scores: BatchedScopeScores) -> None:
    """Every request would pay for every model, and a named task be given to another one."""
    assert set(await scored(scores, "my parcel was lost", "weather")) == {"weather"}
    assert await scored(scores, "my parcel was lost", "none") == {}


async def test_a_text_without_a_token_is_novel_to_every_model(scores: BatchedScopeScores) -> None:
    """A blank request scores as near to everything and would be answered with confidence."""
    blank = await scored(scores, " \u200b\n")
    assert {score.score for score in blank.values()} == {UNREAD_SCORE}
    assert all(score.margin < 0 for score in blank.values())


async def test_a_late_request_is_not_scored(scores: BatchedScopeScores) -> None:
    """The model would run for a request that can only expire."""
    assert await scores.score("my parcel was lost", AUTO, 1_000) is Unscored.EXPIRED


async def test_more_requests_than_may_wait_are_answered_at_once(root: Path) -> None:
    """An overload would be an exception, and each request a dead letter."""
    scores = BatchedScopeScores(open_models(root), clock=lambda: 0, batch_tokens_max=9, waiting_max=0)
    assert await scores.score("my parcel was lost", AUTO, NEVER_MS) is Unscored.OVERLOADED
    await scores.close()


async def test_the_router_never_runs_the_labels(
    scores: BatchedScopeScores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label confidence is judged in one place; here it would be paid for twice and judged twice."""

    def refuse(*_: object) -> None:
        raise AssertionError("the router asked for label probabilities")

    monkeypatch.setattr(ClassifierModel, "classify", refuse)
    assert set(await scored(scores, "my parcel was lost")) == {"parcels", "weather"}


def boot(models: Path) -> Boot:
    return Boot(Environment(models=models), MeshConfig(), EMBEDDED)


def test_a_router_without_a_model_does_not_start(tmp_path: Path) -> None:
    """It would run, look healthy, and refuse every request."""
    with pytest.raises(DependencyMissing, match=r"tiermesh train --examples .*TIERMESH_MODELS"):
        create_app(boot(tmp_path))


def test_a_router_with_a_model_is_put_together(root: Path) -> None:
    """A wrong argument in the composition root would be seen in production first."""
    create_app(boot(root))
