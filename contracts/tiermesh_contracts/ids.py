"""Request ids for Pythons whose `uuid` cannot make version 7."""

import os
import time
from uuid import UUID


def new_request_id(now_ms: int | None = None) -> UUID:
    """A UUIDv7: 48 bits of milliseconds, then random bits. Source: RFC 9562, section 5.7."""
    stamp = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = bytearray(stamp.to_bytes(6, "big") + os.urandom(10))
    value[6] = 0x70 | (value[6] & 0x0F)
    value[8] = 0x80 | (value[8] & 0x3F)
    return UUID(bytes=bytes(value))
