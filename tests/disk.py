"""What would be left after a loss of power."""

import os
from pathlib import Path

import pytest


class Disk:
    """Which files and folders are on the disk as they are now, by what was synchronised of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[int, int] = {}
        fsync = os.fsync

        def record(descriptor: int) -> None:
            fsync(descriptor)
            status = os.fstat(descriptor)
            self.synced[status.st_ino] = status.st_mtime_ns

        monkeypatch.setattr(os, "fsync", record)

    def lacks(self, path: Path) -> bool:
        status = path.stat()
        return self.synced.get(status.st_ino) != status.st_mtime_ns
