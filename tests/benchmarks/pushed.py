"""The push-style ZipStreamer as programs carry it: what it does, written anew, on zipfile and a file that forgets."""

from __future__ import annotations

import time
import zipfile
from typing import Any


class _Forgetful:
    """A file that keeps what has not been read yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ZipStreamer:
    """As `zipstream_adapter.compat.push.ZipStreamer`."""

    def __init__(self) -> None:
        self._file: Any = _Forgetful()
        self.zipfile = zipfile.ZipFile(self._file, mode="w")  # type: ignore[call-overload]
        self._member: Any = None

    def put_file(self, name: str, date_time: tuple[int, int, int, int, int, int] | None = None) -> None:
        info = zipfile.ZipInfo(name, date_time or time.localtime()[:6])
        info.external_attr = 0o600 << 16
        self._member = self.zipfile.open(info, "w")

    def write(self, data: bytes) -> None:
        self._member.write(data)

    def flush(self) -> None:
        self._member.close()

    def read(self) -> bytes:
        read: bytes = self._file.take()
        return read

    def close(self) -> None:
        self.zipfile.close()
