"""Finds tensors whose data lies outside the ONNX file, without the onnx package.

Walks the protobuf wire format of ModelProto (onnx.proto3, IR version 10) and skips everything
that cannot hold a tensor, so a file of any size is walked in the number of its fields.
"""

from collections.abc import Iterator

from tiermesh_modelkit.errors import ManifestInvalid

DEPTH_MAX = 32

# message -> {field number: message it holds}; fields not named here hold no tensor
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14


def has_external_data(model: bytes) -> bool:
    """Raises ManifestInvalid if the bytes are not a protobuf message."""
    return _is_external(memoryview(model), "model", 0)


def _is_external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > DEPTH_MAX:
        raise ManifestInvalid(f"model.onnx nests graphs deeper than {DEPTH_MAX}; the model is refused")
    held = _FIELDS[kind]
    for number, value in _walk(message):
        if kind == "tensor":
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
                return True
            continue
        inner = held.get(number)
        if inner and isinstance(value, memoryview) and _is_external(value, inner, depth + 1):
            return True
    return False


def _walk(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(message, at)
        elif wire_type in {1, 5}:
            size = 8 if wire_type == 1 else 4
        else:
            raise ManifestInvalid("model.onnx is not an ONNX file; the model is refused")
        if at + size > len(message):
            raise ManifestInvalid("model.onnx is cut off; copy the whole folder again")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ManifestInvalid("model.onnx is cut off; copy the whole folder again")
