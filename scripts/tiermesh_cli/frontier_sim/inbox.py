"""Every text that reached the frontier, for whoever asks whether a private one did."""


class Inbox:
    """Bounded in texts and bytes; what finds no room is counted, never silently missed."""

    def __init__(self, texts_max: int, bytes_max: int) -> None:
        self.texts: list[str] = []
        self.dropped = 0
        self._texts_max = texts_max
        self._bytes_left = bytes_max

    def keep(self, text: str) -> None:
        size_bytes = len(text.encode(errors="replace"))
        if len(self.texts) >= self._texts_max or size_bytes > self._bytes_left:
            self.dropped += 1
            return
        self._bytes_left -= size_bytes
        self.texts.append(text)
