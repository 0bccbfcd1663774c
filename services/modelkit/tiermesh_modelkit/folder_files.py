"""Reading one file of a model folder without leaving the folder."""

import os
import stat
from pathlib import Path

from tiermesh_modelkit.errors import HashMismatch, ModelMissing, PathEscape


def read_file(folder: Path, name: str, *, bytes_max: int) -> bytes:
    """The whole file, read once; what is hashed is what is parsed.

    Raises PathEscape for anything but a plain file of the folder with a single name,
    ModelMissing if it is absent, HashMismatch if it is larger than bytes_max.
    """
    if name != Path(name).name or name in {"", ".", ".."} or "\\" in name or "\0" in name:
        raise PathEscape(f"{folder}: file name {name!r} leads outside the model folder; the model is refused")
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ModelMissing(f"{path} is missing; train the model or copy the whole folder") from None
    except OSError as error:
        if path.is_symlink():
            raise PathEscape(f"{path} is a symbolic link; copy the file itself into the folder") from None
        raise ModelMissing(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PathEscape(f"{path} is not a plain file; copy the file itself into the folder")
        if status.st_nlink != 1:
            raise PathEscape(f"{path} has another name outside the folder (hard link); copy it instead")
        if status.st_size > bytes_max:
            raise HashMismatch(f"{path} has {status.st_size} bytes, more than the {bytes_max} allowed")
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise HashMismatch(f"{path} grew beyond the {bytes_max} bytes allowed while it was read")
    return content
