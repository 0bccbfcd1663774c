import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fakes.trained import write_model
from tiermesh_chassis.config import MeshConfig
from tiermesh_chassis.errors import ConfigError, DependencyMissing
from tiermesh_chassis.service import Boot
from tiermesh_chassis.settings import Environment
from tiermesh_contracts.brokers import EMBEDDED
from tiermesh_contracts.topics import Pool
from tiermesh_inference.adapters import BatchedClassifier, InferenceMeter, open_models
from tiermesh_inference.app import create_app
from tiermesh_inference.model import Classified, Unclassified

NEVER_MS = 10**15


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in ("parcels", "weather"):
        write_model(folder, task)
    return folder


Make = Callable[..., BatchedClassifier]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[BatchedClassifier] = []

    def classifier(root: Path, *, waiting_max: int = 100) -> BatchedClassifier:
        models = open_models(root)
        made.append(
            BatchedClassifier(
                models, InferenceMeter(), clock=lambda: 1_000, batch_tokens_max=64, waiting_max=waiting_max
            )
        )
        return made[-1]

    yield classifier
    for each in made:
        await each.close()


async def test_texts_of_two_tasks_at_once_get_their_own_models_labels(make: Make, root: Path) -> None:
    """In mixed batches one request would get the answer of another, or of another task's model."""
    classifier = make(root)
    asked = [
        ("my parcel never arrived", "parcels", "lost"),
        ("will it rain tomorrow", "weather", "rain"),
        ("the lamp arrived in pieces and the box was crushed when the package came", "parcels", "broken"),
        ("is it sunny at the beach", "weather", "sun"),
    ] * 10
    seen = await asyncio.gather(*(classifier.classify(text, task, NEVER_MS) for text, task, _ in asked))
    for (_, task, label), each in zip(asked, seen, strict=True):
        assert isinstance(each, Classified)
        assert (each.task, each.model, each.label) == (task, task, label)
        assert 0 < each.confidence <= 1
        assert each.tokens_read == each.tokens_count > 0


async def test_a_batch_gives_what_one_text_alone_gives(make: Make, root: Path) -> None:
    """Confidence would depend on what else was waiting, and so would who answers."""
    classifier = make(root)
    texts = ["my parcel never arrived", "broken", "the courier lost my package " * 10]
    together = await asyncio.gather(*(classifier.classify(text, "parcels", NEVER_MS) for text in texts))
    for text, batched in zip(texts, together, strict=True):
        alone = await classifier.classify(text, "parcels", NEVER_MS)
        assert isinstance(alone, Classified)
        assert isinstance(batched, Classified)
        assert batched.label == alone.label
        assert batched.confidence == pytest.approx(alone.confidence, abs=1e-5)


async def test_a_long_text_says_how_much_of_it_was_read(make: Make, root: Path) -> None:
    """An answer about the beginning of a document would be taken for one about all of it."""
    seen = await make(root).classify("parcel " * 10_000, "parcels", NEVER_MS)
    assert isinstance(seen, Classified)
    assert seen.tokens_read < seen.tokens_count == 10_000


@pytest.mark.parametrize("task", ["none", None])
async def test_a_task_without_a_model_is_told_apart(make: Make, root: Path, task: str | None) -> None:
    """The handler would break, and each such request become a dead letter."""
    assert await make(root).classify("hello", task, NEVER_MS) is Unclassified.NO_MODEL


async def test_a_model_the_router_saw_first_is_loaded_on_demand(make: Make, tmp_path: Path) -> None:
    """For two seconds after an installation every request of the new task would be paid for or refused."""
    write_model(tmp_path, "parcels")
    classifier = make(tmp_path)
    write_model(tmp_path, "weather")
    seen = await asyncio.gather(*(classifier.classify("will it rain", "weather", NEVER_MS) for _ in range(20)))
    assert {type(each) for each in seen} == {Classified}


async def test_a_new_version_answers_without_a_restart(make: Make, tmp_path: Path) -> None:
    """A batcher that holds on to the model it was made with would serve the old version for ever."""
    first = write_model(tmp_path, "parcels")
    models = open_models(tmp_path)
    classifier = BatchedClassifier(
        models, InferenceMeter(), clock=lambda: 1_000, batch_tokens_max=64, waiting_max=9
    )
    before = await classifier.classify("my parcel never arrived", "parcels", NEVER_MS)
    second = write_model(tmp_path, "parcels", leave_out=1)
    await asyncio.to_thread(models.refresh)
    after = await classifier.classify("my parcel never arrived", "parcels", NEVER_MS)
    await classifier.close()
    assert isinstance(before, Classified)
    assert isinstance(after, Classified)
    assert (before.version, after.version) == (first, second)
    assert first != second


async def test_late_work_is_not_run(make: Make, root: Path) -> None:
    """The model would run for a request that can only expire."""
    assert await make(root).classify("my parcel never arrived", "parcels", 1_000) is Unclassified.EXPIRED


async def test_more_work_than_may_wait_is_answered_at_once(make: Make, root: Path) -> None:
    """An overload would be an exception, and each request a dead letter."""
    classifier = make(root, waiting_max=0)
    assert await classifier.classify("my parcel", "parcels", NEVER_MS) is Unclassified.OVERLOADED


def boot(models: Path, pools: tuple[Pool, ...] = ("classify",)) -> Boot:
    return Boot(Environment(models=models, pools=pools), MeshConfig(), EMBEDDED)


@pytest.mark.parametrize("pool", ["generate", "embed"])
def test_a_pool_without_a_kind_of_model_does_not_start(root: Path, pool: Pool) -> None:
    """It would take the pool's records and have nothing to answer them with."""
    with pytest.raises(ConfigError, match=f"TIERMESH_POOLS names '{pool}'"):
        create_app(boot(root, ("classify", pool)))


def test_local_inference_without_a_model_does_not_start(tmp_path: Path) -> None:
    """It would run, look healthy, and answer nothing."""
    with pytest.raises(DependencyMissing, match=r"tiermesh train --examples .*TIERMESH_MODELS"):
        create_app(boot(tmp_path))


def test_local_inference_with_a_model_is_put_together(root: Path) -> None:
    """A wrong argument in the composition root would be seen in production first."""
    create_app(boot(root, ("classify", "classify")))
