"""The models under a root, kept current: new versions are loaded aside, verified, and swapped in."""

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tiermesh_modelkit.errors import ModelError, ModelMissing
from tiermesh_modelkit.runtime import ClassifierModel
from tiermesh_modelkit.store import find_models, load_model

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 2.0
MODELS_MAX = 64
"""Folders read under one root; all of them are in memory at once."""

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of each file: any change of a folder changes it."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: ClassifierModel
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class _Refused:
    why: str
    stamp: Stamp


class InstalledModels:
    """One model a task. Safe to read from any thread; `refresh` blocks and belongs into a worker thread.

    A folder whose new content is refused keeps the model loaded before; the refusal is logged once.
    """

    def __init__(self, root: Path, *, threads: int = 1) -> None:
        self._root = root
        self._threads = threads
        self._loaded: dict[Path, _Loaded] = {}
        self._refused: dict[Path, _Refused] = {}
        self._missed: set[Path] = set()
        self._by_task: Mapping[str, ClassifierModel] = {}
        self._refreshing = threading.Lock()

    def require(self) -> None:
        """Load what is there. Raises `ModelMissing` with one line where not one model can be loaded."""
        try:
            self.refresh()
        except (ModelError, OSError) as error:
            raise ModelMissing(f"{error}; {self._how()}") from error
        if not self._by_task:
            refusals = [refused.why for refused in self._refused.values()]
            why = f"no model can be used: {refusals[0]}" if refusals else f"no model is installed in {self._root}"
            raise ModelMissing(f"{why}; {self._how()}")

    def _how(self) -> str:
        return f"train one with 'tiermesh train --examples FILE.jsonl --out {self._root}/NAME'"

    def task(self, name: str) -> ClassifierModel | None:
        return self._by_task.get(name)

    @property
    def by_task(self) -> Mapping[str, ClassifierModel]:
        return self._by_task

    def refresh(self) -> None:
        """Look once. Raises `ModelMissing` or `OSError` where the root cannot be read; models stay loaded."""
        with self._refreshing:
            folders = find_models(self._root)
            if len(folders) > MODELS_MAX:
                log.warning("%s: only the first %d of %d models are used", self._root, MODELS_MAX, len(folders))
            for folder in folders[:MODELS_MAX]:
                self._refresh_folder(folder)
            self._drop_missing(set(folders[:MODELS_MAX]))
            self._publish()

    async def keep_current(self, interval_s: float = POLL_INTERVAL_S) -> None:
        """Refresh for ever. A root that is away for a while is logged, once, and changes nothing."""
        was_readable = True
        while True:
            await asyncio.sleep(interval_s)
            try:
                await asyncio.to_thread(self.refresh)
            except (ModelMissing, OSError) as error:
                if was_readable:
                    log.warning("models are not looked for, the loaded ones stay: %s", error)
                was_readable = False
            else:
                was_readable = True

    def _refresh_folder(self, folder: Path) -> None:
        before = self._loaded.get(folder)
        try:
            stamp = _stamp(folder)
            if any(known is not None and known.stamp == stamp for known in (before, self._refused.get(folder))):
                return
            model = load_model(folder, threads=self._threads)
        except FileNotFoundError:
            return  # it went between the listing and the look
        except ModelError as error:
            self._refused[folder] = _Refused(str(error), stamp)
            kept = f"version {before.model.manifest.version} stays" if before else "its task has no model"
            log.warning("model refused, %s: %s", kept, error)
            return
        self._refused.pop(folder, None)
        self._loaded[folder] = _Loaded(model, stamp)
        manifest = model.manifest
        log.info("model %s@%s serves task %s", manifest.name, manifest.version, manifest.task)

    def _drop_missing(self, folders: set[Path]) -> None:
        """A folder counts as gone at the second look without it: replacing one takes it away for a moment."""
        missing = self._loaded.keys() - folders
        for folder in missing & self._missed:
            del self._loaded[folder]
            log.warning("model folder %s is gone, its model no longer serves", folder)
        self._missed = missing - self._missed
        self._refused = {folder: refused for folder, refused in self._refused.items() if folder in folders}

    def _publish(self) -> None:
        by_task: dict[str, ClassifierModel] = {}
        for folder in sorted(self._loaded):
            model = self._loaded[folder].model
            first = by_task.setdefault(model.manifest.task, model)
            if first is not model and self._by_task.get(model.manifest.task) is not first:
                log.warning("%s: its task %s is served by %s", folder, model.manifest.task, first.manifest.name)
        self._by_task = by_task


def _stamp(folder: Path) -> Stamp:
    files = sorted(folder.iterdir())
    return tuple((f.name, s.st_ino, s.st_size, s.st_ctime_ns) for f in files for s in [f.lstat()])
