"""Model folders: found under a root, verified whole before anything in them is parsed."""

from dataclasses import dataclass
from pathlib import Path

from tiermesh_modelkit.errors import HashMismatch, ManifestInvalid, ModelMissing, PathEscape
from tiermesh_modelkit.folder_files import read_file
from tiermesh_modelkit.manifest import (
    MANIFEST_NAME,
    MODEL_NAME,
    TOKENIZER_NAME,
    Manifest,
    content_version,
    file_entry,
    read_manifest,
)
from tiermesh_modelkit.onnx_wire import has_external_data
from tiermesh_modelkit.runtime import ClassifierModel

FILE_BYTES_MAX = 1024 * 1024 * 1024


@dataclass(frozen=True)
class VerifiedFolder:
    """The content of a folder whose every file has the size and the sha256 of its manifest."""

    path: Path
    manifest: Manifest
    files: dict[str, bytes]


def find_models(root: Path) -> list[Path]:
    """Model folders directly under root, by name; hidden folders are being written and do not count.

    Raises ModelMissing if root is not a folder.
    """
    if not root.is_dir():
        raise ModelMissing(f"models folder {root} is missing; set TIERMESH_MODELS or run `tiermesh train`")
    folders = (path for path in root.iterdir() if not path.name.startswith("."))
    return sorted(path for path in folders if (path / MANIFEST_NAME).exists())


def verify_folder(folder: Path) -> VerifiedFolder:
    """Reads every file once and checks it.

    Raises ModelMissing, ManifestInvalid, HashMismatch or PathEscape.
    """
    if not folder.is_dir():
        raise ModelMissing(f"model folder {folder} does not exist; run `tiermesh train` to make it")
    manifest = read_manifest(folder)
    if not {MODEL_NAME, TOKENIZER_NAME} <= manifest.files.keys():
        raise ManifestInvalid(f"{folder / MANIFEST_NAME} lacks {MODEL_NAME} or {TOKENIZER_NAME}; train again")
    files = {name: _read_checked(folder, name, manifest) for name in sorted(manifest.files)}
    if content_version(files[MODEL_NAME]) != manifest.version:
        raise HashMismatch(f"{folder}: {MODEL_NAME} is not of version {manifest.version}; train again")
    if has_external_data(files[MODEL_NAME]):
        raise PathEscape(f"{folder / MODEL_NAME} keeps tensors in another file; export it as a single file")
    return VerifiedFolder(folder, manifest, files)


def load_model(folder: Path, *, threads: int = 1) -> ClassifierModel:
    """A verified model, ready to run; one run uses at most `threads` cores.

    Raises as verify_folder does, and ManifestInvalid if the files cannot be opened.
    """
    verified = verify_folder(folder)
    return ClassifierModel(
        verified.manifest,
        model_bytes=verified.files[MODEL_NAME],
        tokenizer_bytes=verified.files[TOKENIZER_NAME],
        threads=threads,
    )


def _read_checked(folder: Path, name: str, manifest: Manifest) -> bytes:
    expected = manifest.files[name]
    if expected.bytes > FILE_BYTES_MAX:
        raise ManifestInvalid(f"{folder / name} claims {expected.bytes} bytes; {FILE_BYTES_MAX} are allowed")
    content = read_file(folder, name, bytes_max=FILE_BYTES_MAX)
    if file_entry(content) != expected:
        raise HashMismatch(f"{folder / name} is not the file its manifest names; restore it or train again")
    return content
