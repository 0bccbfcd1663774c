import json
import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tiermesh_modelkit.errors import HashMismatch, ManifestInvalid, ModelError, ModelMissing, PathEscape
from tiermesh_modelkit.manifest import (
    Manifest,
    content_version,
    file_entry,
    parse_manifest,
    read_manifest,
    render_manifest,
    write_manifest,
)
from tiermesh_modelkit.onnx_wire import has_external_data
from tiermesh_modelkit.store import find_models, load_model, verify_folder
from tiermesh_modelkit.train import TrainedModel


def with_file(manifest: Manifest, name: str, content: bytes) -> Manifest:
    changes: dict[str, object] = {"files": manifest.files | {name: file_entry(content)}}
    if name == "model.onnx":
        changes["version"] = content_version(content)
    return manifest.model_copy(update=changes)


def test_written_folder_loads(folder: Path, trained: TrainedModel) -> None:
    """If what training writes did not load, nothing would."""
    assert load_model(folder).manifest == trained.manifest
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.onnx", "tokenizer.json"]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_flipped_byte_is_refused(folder: Path, name: str, place: float) -> None:
    """If one changed byte went unseen, damaged or planted weights would answer requests."""
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content)) if place > 0 else int(place)] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(HashMismatch, match=name):
        load_model(folder)


def test_flipped_byte_of_the_manifest_is_refused(folder: Path) -> None:
    """If the manifest itself could be damaged unseen, so could thresholds and label names."""
    path = folder / "manifest.json"
    content = path.read_bytes()
    manifest = read_manifest(folder)
    for at in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[at] ^= 1
        try:
            assert parse_manifest(bytes(damaged), origin="it") == manifest
        except (ManifestInvalid, HashMismatch):
            continue
    path.write_bytes(content.replace(b'"parcel"', b'"parsel"'))
    with pytest.raises(HashMismatch, match="was changed"):
        load_model(folder)


def test_cut_file_is_refused(folder: Path) -> None:
    """If a half-copied file were opened, a deploy in progress would crash a service."""
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-100])
    with pytest.raises(HashMismatch):
        load_model(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "inner/file", "..", "a\\b"])
def test_name_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    """If a manifest could name any path, loading a model would read any file."""
    (folder.parent / "secret").write_bytes(b"x")
    write_manifest(folder, with_file(read_manifest(folder), name, b"x"))
    with pytest.raises(PathEscape, match="outside the model folder"):
        load_model(folder)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_links_are_refused(folder: Path, name: str, link: object) -> None:
    """If links were followed, a file could be swapped from outside after it was checked."""
    elsewhere = folder.parent / "elsewhere"
    (folder / name).rename(elsewhere)
    assert callable(link)
    link(folder / name, elsewhere)
    with pytest.raises(PathEscape):
        load_model(folder)


def test_fifo_is_refused_without_waiting(folder: Path) -> None:
    """If a pipe were opened for reading, loading would hang for ever."""
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(PathEscape, match="not a plain file"):
        load_model(folder)


def external_tensor() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret.bin")
    return tensor


def external_models() -> list[onnx.ModelProto]:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    constant = helper.make_node("Constant", [], ["y"], value=external_tensor())
    inner = helper.make_graph([constant], "inner", [], [value])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return [
        helper.make_model(helper.make_graph([], "g", [], [value], [external_tensor()])),
        helper.make_model(helper.make_graph([constant], "g", [], [value])),
        helper.make_model(helper.make_graph([branch], "g", [], [value])),
    ]


@pytest.mark.parametrize("number", range(3))
def test_external_data_is_refused(folder: Path, number: int) -> None:
    """If tensors could live in another file, a hashed model would run unhashed weights."""
    content = external_models()[number].SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder, with_file(read_manifest(folder), "model.onnx", content))
    with pytest.raises(PathEscape, match="another file"):
        load_model(folder)


def test_garbage_model_is_a_model_error(folder: Path) -> None:
    """If bytes that are no ONNX raised anything else, a bad folder would crash the service."""
    for content in (b"", b"\xff" * 100, b"\x0a\x7f", b"hello world"):
        (folder / "model.onnx").write_bytes(content)
        write_manifest(folder, with_file(read_manifest(folder), "model.onnx", content))
        with pytest.raises(ModelError):
            load_model(folder)


def test_whole_model_has_no_external_data(trained: TrainedModel) -> None:
    """If the search misread a sound file, no model would load."""
    assert not has_external_data(trained.files["model.onnx"])


def test_missing_things_are_named(folder: Path, tmp_path: Path) -> None:
    """If an absent folder gave an empty answer, a wrong setting would look like a mesh without models."""
    with pytest.raises(ModelMissing, match="TIERMESH_MODELS"):
        find_models(tmp_path / "nowhere")
    with pytest.raises(ModelMissing, match="tiermesh train"):
        load_model(tmp_path / "nowhere")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelMissing, match=r"tokenizer\.json"):
        verify_folder(folder)


def test_find_models_lists_whole_folders(folder: Path) -> None:
    """If half-written or hidden folders counted, a service would try to load what is still being made."""
    root = folder.parent
    (root / "empty").mkdir()
    folder.rename(root / "zebra")
    TrainedModel(read_manifest(root / "zebra"), {}).write(root / ".hidden")
    TrainedModel(read_manifest(root / "zebra"), {}).write(root / "apple")
    assert [path.name for path in find_models(root)] == ["apple", "zebra"]


def test_writing_replaces_a_folder_whole(folder: Path, trained: TrainedModel) -> None:
    """If old files stayed beside new ones, a retrained model would not load."""
    (folder / "leftover").write_bytes(b"x")
    trained.write(folder)
    assert load_model(folder).manifest.version == trained.manifest.version
    assert not (folder / "leftover").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["support"]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"format_version": 2}, "format_version"), ({"colour": 1}, "colour"), ({"labels": ["a"]}, "labels")],
)
def test_foreign_manifest_is_named(trained: TrainedModel, change: dict[str, object], named: str) -> None:
    """If a manifest of another format were half understood, thresholds would be guessed."""
    body = json.loads(render_manifest(trained.manifest)) | change
    with pytest.raises(ManifestInvalid, match=named):
        parse_manifest(json.dumps(body).encode(), origin="manifest.json")
