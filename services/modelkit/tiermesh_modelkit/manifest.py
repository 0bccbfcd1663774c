"""manifest.json: what a model folder holds, how it was made and where its thresholds come from."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiermesh_modelkit.errors import HashMismatch, ManifestInvalid
from tiermesh_modelkit.folder_files import read_file

MANIFEST_NAME = "manifest.json"
MODEL_NAME = "model.onnx"
TOKENIZER_NAME = "tokenizer.json"
MANIFEST_BYTES_MAX = 4 * 1024 * 1024

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(Frozen):
    sha256: Sha256
    bytes: int = Field(ge=0)


class Encoder(Frozen):
    name: str
    dim: int = Field(gt=0, description="numbers in one embedding")
    source: str = Field(description="distribution and version the weights were read from")
    licence: str
    precision: str
    special_tokens: bool = Field(description="whether [CLS] and [SEP] are part of the input")
    run_tokens_max: int = Field(gt=0, description="padded tokens of one run; bounds its memory")


class Thresholds(Frozen):
    """A request is answered by the model if its scope score and its confidence both reach these."""

    scope_score: float = Field(description="least scope_score that counts as known")
    confidence: float = Field(ge=0, description="least probability of the best label; above 1 = never sure")
    scope_quantile: Share = Field(description="share of in-scope examples below scope_score")
    error_max: Share = Field(description="target for the share of wrong labels among accepted examples")
    examples_count: int = Field(ge=0, description="examples the thresholds were set on")
    how: str


class Training(Frozen):
    examples_count: int = Field(gt=0)
    examples_sha256: Sha256
    seed: int
    folds: int = Field(ge=2)
    inverse_regularisation: float = Field(gt=0, description="C of the logistic head")
    temperature: float = Field(gt=0, description="divided into the logits; fitted out of fold")
    scope_sphere_share: Share
    scope_relative_share: Share


class Metrics(Frozen):
    """All out of fold: each example was scored by a head that had not seen it."""

    accuracy: Share
    coverage: Share = Field(description="share of examples accepted at both thresholds")
    accepted_error: Share = Field(description="share of wrong labels among the accepted; 0 if none")
    calibration_error: Share = Field(description="expected calibration error over 15 bins")


class Manifest(Frozen):
    format_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[0-9a-f]{12}$", description="first 12 hex digits of model.onnx's sha256")
    task: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    kind: Literal["classifier"] = "classifier"
    labels: tuple[str, ...] = Field(min_length=2, max_length=10_000)
    input_tokens_max: int = Field(gt=0, le=1_000_000, description="texts are cut here, and only here")
    encoder: Encoder
    thresholds: Thresholds
    training: Training
    metrics: Metrics
    files: dict[str, FileEntry] = Field(min_length=1, max_length=16)


def content_version(model_bytes: bytes) -> str:
    """12 hex digits of the graph and its weights alone: equal training gives an equal version."""
    return hashlib.sha256(model_bytes).hexdigest()[:12]


def file_entry(content: bytes) -> FileEntry:
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def render_manifest(manifest: Manifest) -> bytes:
    """JSON with a digest of itself, so that damage to the manifest is seen as well."""
    body = manifest.model_dump(mode="json")
    return json.dumps(body | {"digest": _digest(manifest)}, indent=2, ensure_ascii=False).encode() + b"\n"


def parse_manifest(content: bytes, *, origin: str) -> Manifest:
    """Raises ManifestInvalid if it is not a manifest of format 1, HashMismatch if its digest differs."""
    try:
        body = json.loads(content)
        digest = body.pop("digest")
        manifest = Manifest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ManifestInvalid(f"{origin}: {where}: {first['msg']}; train the model again") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ManifestInvalid(f"{origin} is not a model manifest; train the model again") from None
    if digest != _digest(manifest):
        raise HashMismatch(f"{origin} was changed after it was written; restore it or train the model again")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    content = read_file(folder, MANIFEST_NAME, bytes_max=MANIFEST_BYTES_MAX)
    return parse_manifest(content, origin=str(folder / MANIFEST_NAME))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest in one step; a reader sees the old one or the new one."""
    staged = folder / f".{MANIFEST_NAME}.new"
    staged.write_bytes(render_manifest(manifest))
    staged.replace(folder / MANIFEST_NAME)


def _digest(manifest: Manifest) -> str:
    canonical = json.dumps(manifest.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
