"""Where a key stands in a TOML text. The parser of the standard library keeps no positions."""

import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Loc: TypeAlias = tuple[str | int, ...]
"""Keys and positions from the outside in: `("budgets", 1, "limit_usd")`."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*([\w.\"'-]+)\s*=")


def line_of(loc: Loc, text: str) -> int | None:
    """The line, from 1, of the innermost part of `loc` that stands in the text: its key, or its table's header.

    A key inside an inline table is looked for from the line where that table begins.
    """
    lines = text.splitlines()
    found, depth, end = None, 0, len(lines)
    for number, here in _places(lines):
        if depth < len(here) and loc[: len(here)] == here:
            found, depth, end = number, len(here), len(lines)
        elif end == len(lines):
            end = number - 1
    if found is None or depth == len(loc) or not isinstance(loc[-1], str):
        return found
    inline = re.compile(rf"(^|[\s{{,]){re.escape(loc[-1])}\s*=")
    return next((n for n in range(found, end + 1) if inline.search(lines[n - 1])), found)


def _places(lines: Sequence[str]) -> Iterator[tuple[int, Loc]]:
    """Each table header and each key at the start of a line, with its place."""
    last: dict[Loc, int] = {}
    table: Loc = ()
    for number, line in enumerate(lines, 1):
        if header := _HEADER.match(line):
            table = _table(_parts(header[2]), header[1] == "[[", last)
            yield number, table
        elif key := _KEY.match(line):
            yield number, (*table, *_parts(key[1]))


def _table(parts: list[str], is_array: bool, last: dict[Loc, int]) -> Loc:
    """The place of a table; a name that was an array before means the latest element of it."""
    place: Loc = ()
    for part in parts[:-1]:
        place = (*place, part)
        place = (*place, last[place]) if place in last else place
    place = (*place, parts[-1])
    if not is_array:
        return place
    last[place] = last.get(place, -1) + 1
    return (*place, last[place])


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
