"""A remote object as a seekable binary file that fetches only the pieces that are read."""

import io
from collections.abc import Callable
from typing import Any

_BUFFER_BYTES = 1 << 18


def open_ranges(read_range: Callable[[int, int], bytes], size: int) -> io.BufferedReader:
    """Open `size` bytes for reading; `read_range(start, end)` fetches a piece."""
    return io.BufferedReader(_Ranges(read_range, size), _BUFFER_BYTES)


class _Ranges(io.RawIOBase):
    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range = read_range
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        data = self._read_range(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
