import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from tiermesh_modelkit.datasets import Example
from tiermesh_modelkit.errors import ModelMissing
from tiermesh_modelkit.installed import InstalledModels
from tiermesh_modelkit.train import TrainedModel, train


@pytest.fixture(scope="module")
def newer(examples: list[Example]) -> TrainedModel:
    """Another version of the same model: trained on less."""
    return train(examples[:-2], task="support", name="support")


@pytest.fixture
def root(folder: Path) -> Path:
    return folder.parent


@pytest.fixture
def installed(root: Path) -> InstalledModels:
    models = InstalledModels(root)
    models.require()
    return models


def version(models: InstalledModels, task: str = "support") -> str | None:
    model = models.task(task)
    return model.manifest.version if model else None


@pytest.mark.parametrize("name", ["", "missing"])
def test_no_model_is_one_line_that_says_how_to_get_one(tmp_path: Path, name: str) -> None:
    """A first start would end in a stack trace, or run and refuse everything."""
    with pytest.raises(ModelMissing, match="tiermesh train --examples") as raised:
        InstalledModels(tmp_path / name).require()
    assert "\n" not in str(raised.value)


def test_a_refused_model_alone_is_named_with_its_reason(root: Path, folder: Path) -> None:
    """An operator would look for a missing model where there is a damaged one."""
    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelMissing, match=r"model\.onnx"):
        InstalledModels(root).require()


def test_a_new_version_is_taken_without_a_restart(
    installed: InstalledModels, folder: Path, trained: TrainedModel, newer: TrainedModel
) -> None:
    """A retrained model would serve only after a restart."""
    assert version(installed) == trained.manifest.version
    newer.write(folder)
    installed.refresh()
    assert version(installed) == newer.manifest.version != trained.manifest.version


def test_what_did_not_change_is_not_loaded_again(installed: InstalledModels) -> None:
    """Every two seconds each model would be read, hashed and opened."""
    before = installed.task("support")
    installed.refresh()
    assert installed.task("support") is before


def test_a_broken_new_version_keeps_the_old_one_and_is_logged_once(
    installed: InstalledModels, folder: Path, trained: TrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    """A half-copied model would stop its task, or fill the log every two seconds."""
    before = installed.task("support")
    (folder / "model.onnx").write_bytes(b"half a file")
    with caplog.at_level(logging.WARNING):
        installed.refresh()
        installed.refresh()
    assert installed.task("support") is before
    assert len([record for record in caplog.records if "refused" in record.getMessage()]) == 1


def test_a_broken_version_that_is_repaired_serves(
    installed: InstalledModels, folder: Path, newer: TrainedModel
) -> None:
    """A refusal remembered for ever would need a restart to be forgotten."""
    (folder / "model.onnx").write_bytes(b"half a file")
    installed.refresh()
    newer.write(folder)
    installed.refresh()
    assert version(installed) == newer.manifest.version


def test_changed_thresholds_count_as_a_change(installed: InstalledModels, folder: Path) -> None:
    """Calibration writes the manifest alone; the version is of the graph and stays the same."""
    manifest = folder / "manifest.json"
    before = installed.task("support")
    content = manifest.read_bytes()
    manifest.unlink()
    manifest.write_bytes(content)
    installed.refresh()
    assert installed.task("support") is not before


def test_a_folder_away_for_a_moment_goes_on_serving(
    installed: InstalledModels, folder: Path, tmp_path: Path
) -> None:
    """Replacing a folder takes it away between two renames: requests in that moment would be refused."""
    folder.rename(tmp_path / "aside")
    installed.refresh()
    assert installed.task("support") is not None
    (tmp_path / "aside").rename(folder)
    installed.refresh()
    installed.refresh()
    assert installed.task("support") is not None


def test_a_model_that_was_taken_away_no_longer_serves(installed: InstalledModels, folder: Path) -> None:
    """A withdrawn model would answer until the next restart."""
    shutil.rmtree(folder)
    installed.refresh()
    installed.refresh()
    assert installed.by_task == {}


def test_of_two_models_of_one_task_the_first_by_name_serves(
    root: Path, trained: TrainedModel, newer: TrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    """Router and local inference could serve one task with different models."""
    newer.write(root / "z-later")
    models = InstalledModels(root)
    with caplog.at_level(logging.WARNING):
        models.require()
    assert version(models) == trained.manifest.version
    assert "served by" in caplog.text


async def test_the_watch_outlives_a_root_that_is_away(
    installed: InstalledModels,
    root: Path,
    folder: Path,
    newer: TrainedModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A volume that is remounted would end the service, or end the watching for new versions."""
    await asyncio.to_thread(root.rename, tmp_path / "unmounted")
    watch = asyncio.create_task(installed.keep_current(0.01))
    async with asyncio.timeout(20):
        while "models are not looked for" not in caplog.text:
            await asyncio.sleep(0.01)
    assert installed.task("support") is not None
    await asyncio.to_thread((tmp_path / "unmounted").rename, root)
    newer.write(folder)
    async with asyncio.timeout(20):
        while version(installed) != newer.manifest.version:
            await asyncio.sleep(0.01)
    assert not watch.done()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
