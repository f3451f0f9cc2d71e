"""A file whose data becomes an object in a store when it is closed (extra ``s3``).

For programs that write an archive to a file: parts are sent while the program writes. After a failure, obstore's own
writer stores the data written before it; this one stores nothing.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..._buffers import flat_view
from ..._concurrency.cancellation import check_loop
from ..._concurrency.offload import on_thread
from ..._format.end_records import LEAST_SUFFIX, find_end
from ..._format.records import END, LIMIT32
from ...errors import BadArchiveError, PoisonedError, StreamClosedError
from ..background import background
from ..stores import map_error
from ..waiting import call_within
from .destination import find_destination
from .part_upload import PartUpload
from .upload import PartBuffer, Uploaded, UploadSettings

if TYPE_CHECKING:
    from typing import Unpack

    from typing_extensions import Buffer

    from ..store_options import StoreOptions


def open_object(
    store: Any,
    path: str | None = None,
    *,
    part_size: int | None = None,
    max_concurrency: int = 4,
    attributes: Mapping[str, str] | None = None,
    patience: float | None = None,
    deadline: float | None = None,
    **store_options: Unpack[StoreOptions],
) -> ObjectWriter:
    """Open an object of a store for writing: a binary file, for programs that write an archive to a file.

    >>> with open_object("s3://bucket/photos.zip") as file, zipfile.ZipFile(file, "w") as archive:  # doctest: +SKIP
    ...     archive.write("photo.jpg")

    Closing the file completes the object. Nothing is stored, and no unfinished upload is left, if the block is left by
    an exception, if a write failed, if `ObjectWriter.abort` was called, or if the file is dropped without being closed.
    The same holds if the data begins as a zip archive does, but does not end as one: the archive's writer was dropped
    or poisoned.

    Args:
        store: an obstore store with `path`; or a URL: ``s3://bucket/key``, ``gs://``, ``az://``, ``file://``. A server
            over plain HTTP needs ``allow_http=True``: ``open_object("s3://bucket/key", endpoint="http://localhost:9000",
            allow_http=True)``.
        path: the object's path in the store. An existing object is replaced once the file is closed.
        part_size: bytes of a part, 5 MiB to 5 GiB (Azure: 4,000 MiB). Default: 16 MiB, enough for 156 GiB in 10,000
            parts (Azure: 781 GiB in 50,000).
        max_concurrency: parts to send at a time, while as many are gathered. Memory: up to
            2 * part_size * max_concurrency. A write that fills a part beyond that waits until others have been sent.
        attributes: attributes of the object, as for obstore. Default: Content-Type application/zip.
        patience: seconds for which a request is repeated; default 180. For a URL only: a store has its own
            ``retry_config``.
        deadline: seconds that a call of `write` or `close` may wait for the store; None (the default) for no limit.
            Giving up the upload may take longer.
        store_options: options of obstore, as for `open_remote`; for a URL only.

    Raises OptionError, ImportError, ForkedError at once; LimitError if the most parts are not enough, RemoteError
    of the store, in `write` and `close`; BadArchiveError in `close` for an incomplete archive; PoisonedError in `close`
    after a failure.
    """
    found, path = find_destination(store, path, patience, store_options)
    settings = UploadSettings(found, path, part_size, max_concurrency, attributes, deadline)
    settings.set_size(None, None)
    return ObjectWriter(settings)


class ObjectWriter(io.RawIOBase):
    """The file that `open_object` returns. It supports `write` and `tell`, but not `seek`.

    Attributes:
        uploaded: the object, once the file has been closed; None before, and after a failure.
    """

    mode = "wb"
    _upload: PartUpload | None = None

    def __init__(self, settings: UploadSettings) -> None:
        self.uploaded: Uploaded | None = None
        self.name = settings.path
        self._settings = settings
        self._buffer: PartBuffer | None = settings.new_buffer()
        self._size = 0
        self._head = self._tail = b""
        self._failure: BaseException | None = None
        self._lock = threading.RLock()
        self._upload = PartUpload(settings)
        background.to_abort.add(self)

    def __repr__(self) -> str:
        settings = vars(self).get("_settings")
        return f"<ObjectWriter of {settings.where}>" if settings is not None else "<ObjectWriter, not initialised>"

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        """Return the number of bytes written."""
        self._refuse_closed()
        return self._size

    def flush(self) -> None:
        """Do nothing: data is sent in parts."""
        self._refuse_closed()

    def write(self, data: Buffer, /) -> int:
        """Write all of `data`. Waits while too many parts are under way; raises if a part could not be sent."""
        with self._lock:
            self._refuse_closed()
            if self._failure is not None:
                raise PoisonedError(f"{self._settings.where}: a write failed before: nothing is stored")
            view = flat_view(data)
            try:
                with call_within(self._settings.deadline):
                    self._take(view)
            except BaseException as exc:
                self._failure = error = self._mapped(exc)
                self._abort(error)
                if error is exc:
                    raise
                raise error from None
            return len(view)

    def fits(self, size: int) -> bool:
        """Whether `size` bytes can be written without waiting."""
        return self._buffer is not None and size <= self._buffer.room

    def _take(self, view: memoryview) -> None:
        self._settings.check_size(self._size + len(view))
        if len(self._head) < 4:
            self._head += bytes(view[: 4 - len(self._head)])
        self._size += len(view)
        while view:
            if self._buffer is None:
                self._buffer = self._settings.new_buffer()
            elif self._buffer.is_full:
                self._send()
                continue
            view = self._buffer.take(view)

    def _send(self) -> None:
        """Send the gathered parts. They stay in memory until obstore has sent them."""
        assert self._buffer is not None
        assert self._upload is not None
        batch, self._buffer = self._buffer.data, None
        self._tail = bytes(batch[-LEAST_SUFFIX:])
        self._upload.send(batch)

    def close(self) -> None:
        """Complete the object. Further calls have no effect. Raises, and stores nothing, if that is not possible."""
        if "_lock" not in vars(self):  # __init__ was interrupted
            super().close()
            return
        with self._lock:
            if self.closed:
                return
            if self._failure is not None:
                super().close()
                raise PoisonedError(f"{self._settings.where}: a write failed before: nothing is stored") from None
            try:
                self._check_archive()
                with call_within(self._settings.deadline):
                    self.uploaded = self._commit()
            except BaseException as exc:
                self._failure = error = self._mapped(exc)
                self._abort(error)
                if error is exc:
                    raise
                raise error from None
            finally:
                super_close = super().close
                super_close()
                self._release()

    def _commit(self) -> Uploaded:
        settings, upload = self._settings, self._upload
        assert upload is not None
        last = self._buffer.data if self._buffer is not None else memoryview(b"")
        if not upload.has_begun and len(last) <= settings.part_size:
            done = upload.put_whole(last)
        else:
            if last:
                upload.send(last)
            done = upload.finish()
        return settings.result(done, self._size)

    def _check_archive(self) -> None:
        """Raise BadArchiveError if the data begins as an archive does, but does not end as one."""
        if self._head != b"PK\3\4":
            return
        last = bytes(self._buffer.data[-LEAST_SUFFIX:]) if self._buffer is not None else b""
        tail = (self._tail + last)[-LEAST_SUFFIX:]
        where = self._settings.where
        try:
            end = find_end(tail, self._size, where)
        except BadArchiveError as exc:
            raise BadArchiveError(f"{exc}. Nothing is stored") from None
        at = tail.rfind(b"PK\5\6") if end is not None else -1
        # The end records of a stored member that is an archive itself count their offsets from its own beginning.
        offset = END.unpack_from(tail, at)[6] if at >= 0 else None
        if end is None or offset not in (end.start, LIMIT32):
            raise BadArchiveError(
                f"{where}: the archive is incomplete, it has no end of central directory record of its own: its writer "
                "was dropped or failed. Nothing is stored"
            )

    def abort(self) -> None:
        """Give up: nothing is stored. Has no effect on a closed file."""
        with self._lock:
            if not self.closed:
                super().close()
                self._abort(None)

    def _abort(self, failure: BaseException | None) -> None:
        upload, self._upload, self._buffer = self._upload, None, None
        if upload is None:
            return
        left = upload.abort()
        if left is not None and failure is not None and left is not failure:
            said = self._mapped(left)
            if str(said) != str(failure):
                failure.add_note(f"(the unfinished upload may remain in the store: {said})")

    def _release(self) -> None:
        upload, self._upload, self._buffer = self._upload, None, None
        if upload is not None:
            upload.close()

    def _mapped(self, exc: BaseException) -> BaseException:
        return map_error(exc, self._settings.where) if isinstance(exc, Exception) else exc

    def _refuse_closed(self) -> None:
        if self.closed:
            raise StreamClosedError(f"{self._settings.where}: the file has been closed")

    def __exit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> None:
        if exc is not None:
            self.abort()
        else:
            self.close()

    def __del__(self) -> None:
        if "_lock" in vars(self) and not background.is_ending:
            self.abort()


async def open_object_async(
    store: Any,
    path: str | None = None,
    *,
    part_size: int | None = None,
    max_concurrency: int = 4,
    attributes: Mapping[str, str] | None = None,
    patience: float | None = None,
    deadline: float | None = None,
    **store_options: Unpack[StoreOptions],
) -> AsyncObjectWriter:
    """Like `open_object`, for an event loop: ``async with await open_object_async(…) as file: await file.write(data)``.

    Data is gathered on the loop; threads wait for the store.

    Raises as `open_object`; EventLoopError without asyncio.
    """
    check_loop()

    def opened() -> ObjectWriter:
        return open_object(
            store, path, part_size=part_size, max_concurrency=max_concurrency, attributes=attributes, patience=patience,
            deadline=deadline,
            **store_options,
        )  # fmt: skip

    return AsyncObjectWriter(await on_thread(opened, "opening an object"))


class AsyncObjectWriter:
    """The file that `open_object_async` returns. One task uses it at a time."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer

    @property
    def uploaded(self) -> Uploaded | None:
        """The object, once the file has been closed; None before, and after a failure."""
        return self._writer.uploaded

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._writer.tell()

    async def write(self, data: Buffer, /) -> int:
        """Like `ObjectWriter.write`."""
        view = flat_view(data)
        if self._writer.fits(len(view)):
            return self._writer.write(view)
        count: int = await on_thread(lambda: self._writer.write(view), "writing to an object")
        return count

    async def close(self) -> None:
        """Like `ObjectWriter.close`."""
        await on_thread(self._writer.close, "completing an object")

    async def abort(self) -> None:
        """Like `ObjectWriter.abort`."""
        await on_thread(self._writer.abort, "giving up an object")

    async def __aenter__(self) -> AsyncObjectWriter:
        return self

    async def __aexit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> None:
        await (self.close() if exc is None else self.abort())
