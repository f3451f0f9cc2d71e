"""Upload one archive to an object in S3 or Azure by many workers, on other machines if desired (extra ``s3``)."""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._checks import count_of, typed_repr
from ..._concurrency.scattered import check_executor, end_all
from ..._layout.layout import ZipLayout
from ..._layout.parts import Part
from ...errors import LimitError, OptionError, RemoteError, SourceChangedError
from ..background import run_in_time
from ..stores import is_transient
from ..waiting import call_within, raise_late, time_left, without_deadline
from .multipart import Multipart, PartTarget, open_multipart
from .upload import Uploaded, UploadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

# Parts of up to this many bytes are made before they are sent.
MOST_HELD = 16 << 20


class UploadToken(NamedTuple):
    """An unfinished upload, from which `upload_parts` can go on: also in another process.

    It can be pickled, or be JSON: ``UploadToken(*json.loads(json.dumps(token)))``. A plain list is refused.

    Attributes:
        path: the object's path in the store.
        upload_id: the store's name of the upload; for Azure, how the names of its blocks begin.
        part_size: bytes of a part.
        size: bytes of the archive.
        etag: `ZipLayout.etag` of the archive; None if it has none.
    """

    path: str
    upload_id: str
    part_size: int
    size: int
    etag: str | None


class PartsProgress(NamedTuple):
    """State of `upload_parts`.

    Attributes:
        parts, sent: parts and bytes that the store has.
        parts_total, size: parts and bytes of the archive.
        token: the upload, for `resume`.
    """

    parts: int
    sent: int
    parts_total: int
    size: int
    token: UploadToken


def upload_parts(
    store: Any,
    path: str,
    layout: ZipLayout,
    executor: Executor,
    *,
    part_size: int | None = None,
    max_concurrency: int = 64,
    tries: int = 3,
    on_progress: Callable[[PartsProgress], object] | None = None,
    keep: bool = False,
    resume: UploadToken | None = None,
    deadline: float | None = None,
) -> Uploaded:
    """Write the archive of `layout` to one object whose parts workers make and upload: all of it, or nothing.

    A worker receives a `Part` of the layout (about 100 bytes for each member in it) and a signed URL, which is valid
    for 12 hours. It returns a short text. Workers need no credentials, but access to the sources: files under the same
    paths, or objects (`Entry.from_store`).

    Args:
        store: an obstore S3Store, of Amazon or any S3-compatible store; or an AzureStore, whose blocks the parts are.
            For Google's buckets, give ``S3Store(bucket, endpoint="https://storage.googleapis.com", region="auto", …)``
            with an HMAC key. An S3Store's credentials are its own options, those in the environment
            (AWS_ACCESS_KEY_ID …), or its `credential_provider`'s. For credentials found elsewhere, as on an EC2
            instance, give it ``credential_provider=obstore.auth.boto3.Boto3CredentialProvider()``. An AzureStore may
            have any credentials with which obstore signs URLs: an account key, or those of Entra ID. If it has a shared
            access signature instead, workers get URLs with that one, whose rights and time are its own.
        path: the object's path in the store. An existing object is replaced once the archive is complete.
        layout: the archive. Workers also read the data needed for missing checksums; if that is much, call
            `layout.find_checksums(executor)` first, or declare the checksums.
        executor: a concurrent.futures.Executor: threads, processes, or one that uses other machines, such as
            `get_executor()` of a Dask client. It is not shut down. Processes must be made by spawn or forkserver; those
            of fork (Linux's default before Python 3.14) are refused.
        part_size: bytes of a part, 5 MiB to 5 GiB (Azure: 4,000 MiB). Default: 8 MiB, or more if 10,000 parts (Azure:
            50,000) of 8 MiB are not enough. A worker holds a part of up to 16 MiB in memory. It sends a larger one
            while it makes it, in chunks, and makes it anew for each further try. For Azure, and if a bucket's ETags are
            not MD5s, as with AWS KMS, it makes a larger part twice, because the store verifies the MD5.
        max_concurrency: most parts submitted to the executor at a time, queued ones included.
        tries: how often a part is handed to a worker whose connection to the store fails, or that the store answers by
            a 5xx or 429. The worker itself repeats a request before, as the store's ``retry_config`` says. Default: for
            S3, 8 times, for two minutes on average; for Azure, for 180 seconds, or as its Retry-After says. Other
            failures end the upload at once.
        on_progress: called in this thread at the beginning, and after each part that the store has. An exception that
            it raises ends the upload.
        keep: whether a failure leaves the parts in the store, to go on later. Default: it aborts the upload. The token
            for `resume` is in each `PartsProgress`, and in the attribute `token` of the exception. (Parts that are kept
            cost money: `abort_upload` removes them, or a lifecycle rule of the bucket. Azure has no request for that.
            It drops blocks itself, a week after the last one came, or when another object is written to the path.)
        resume: token of an upload that was kept. The store is asked for the parts that it has, which are not sent
            again. `layout` must be that of the same archive; `part_size` is the token's. A failure keeps the parts.
        deadline: seconds that the whole call may take, checked where it waits for workers and for the store; None (the
            default) for no limit. After it, RemoteTimeoutError is raised as any other failure, once the running parts
            have ended and the upload has been aborted (or kept): giving up may take longer.

    Raises OptionError, LimitError (for more than 10,000 parts or 5 TiB; Azure: 50,000 parts), SourceChangedError (if
    `resume` is of another archive) at once; the first error raised in making a part; RemoteError of the store. Before
    any exception is raised, running parts have ended (as far as the executor reports them) and, unless `keep` or
    `resume` is given, the upload has been aborted; an existing object is unchanged. For Azure, no two uploads to one
    path can run at a time: the one that is completed first makes the other fail.
    """
    if not isinstance(layout, ZipLayout):
        raise OptionError(f"layout={typed_repr(layout)}: give a ZipLayout; for streams and entries use upload_zip")
    check_executor(executor, max_concurrency)
    if count_of(tries, 1) is None:
        raise OptionError(f"tries={tries!r}: give a whole number, 1 or more")
    refuse_forks(executor)
    if resume is not None:
        part_size = _checked_token(resume, path, layout, part_size)
    settings = UploadSettings(store, path, part_size, max_concurrency, None, deadline)
    settings.set_size(layout.size, None)
    most = settings.limits.size
    if layout.size > most:
        raise LimitError(f"{settings.where}: the archive has {layout.size} bytes, and an object at most {most}")
    with call_within(settings.deadline):
        return _uploaded(settings, layout, executor, max_concurrency, tries, on_progress, keep, resume)


def _uploaded(
    settings: UploadSettings,
    layout: ZipLayout,
    executor: Executor,
    max_concurrency: int,
    tries: int,
    on_progress: Callable[[PartsProgress], object] | None,
    keep: bool,
    resume: UploadToken | None,
) -> Uploaded:
    """Upload the parts within the deadline of this thread's call. See `upload_parts`."""
    path = settings.path
    upload = run_in_time(
        lambda: open_multipart(settings.store, path, resume.upload_id if resume is not None else None),
        settings.where,
        undo=lambda made: made.abort(Exception()) if resume is None else None,
    )
    token = UploadToken(path, upload.upload_id, settings.part_size, layout.size, layout.etag)
    try:
        sending = _Sending(upload, layout.parts(settings.part_size), executor, tries, token, on_progress)
        if resume is not None:
            sending.find_sent()
        sending.run(max_concurrency)
        etag, version = run_in_time(lambda: upload.complete(sending.etags), upload.where)
    except BaseException as exc:
        if keep or resume is not None:
            exc.token = token  # type: ignore[attr-defined]
            exc.add_note(f"(the upload {token.upload_id!r} was kept: give resume={token!r} to go on)")
        else:
            with without_deadline():
                upload.abort(exc)
        raise
    return Uploaded(path, layout.size, etag, version)


def abort_upload(store: Any, token: UploadToken) -> None:
    """Remove the parts of an upload that `upload_parts` kept. Has no effect if it was completed or aborted.

    Nor has it for Azure, which drops blocks itself, a week after the last one came.

    Raises RemoteError if that is not possible.
    """
    failure = RemoteError(f"the upload {token.upload_id!r} of {token.path!r} could not be aborted")
    open_multipart(store, token.path, token.upload_id).abort(failure)
    if getattr(failure, "__notes__", None):
        raise failure


def _checked_token(token: UploadToken, path: str, layout: ZipLayout, part_size: int | None) -> int:
    """Return the part size of an upload to resume. Raises an error if it is of another archive."""
    if not isinstance(token, UploadToken):
        raise OptionError(f"resume={typed_repr(token)}: give the UploadToken of an upload that was kept")
    if token.path != path or part_size not in (None, token.part_size):
        raise OptionError(
            f"resume={token!r}: the upload is for {token.path!r} by parts of {token.part_size} bytes: leave part_size "
            "out, and give the same path"
        )
    if token.size != layout.size or token.etag != layout.etag:
        raise SourceChangedError(
            f"resume={token!r}: the layout is of another archive now ({layout.size} bytes): begin a new upload"
        )
    return token.part_size


class _Sending:
    """Sends the parts of one upload.

    Attributes:
        etags: the ETags of all parts, in order; "" for those that the store does not have yet.
    """

    def __init__(
        self,
        upload: Multipart,
        parts: Sequence[Part],
        executor: Executor,
        tries: int,
        token: UploadToken,
        on_progress: Callable[[PartsProgress], object] | None,
    ) -> None:
        self.etags = [""] * len(parts)
        self._upload, self._parts, self._executor = upload, parts, executor
        self._tries = tries
        self._token = token
        self._on_progress = on_progress
        self._failed: dict[int, int] = {}  # failed tries, by part

    def find_sent(self) -> None:
        """Ask the store which parts it has."""
        for number, etag, size in run_in_time(lambda: list(self._upload.sent_parts()), self._upload.where):
            if number <= len(self._parts) and size == len(self._parts[number - 1]):
                self.etags[number - 1] = etag

    def run(self, max_pending: int) -> None:
        """Send all parts that are missing."""
        left = deque(index for index, etag in enumerate(self.etags) if not etag)
        pending: dict[Future[str], int] = {}
        self._report()
        try:
            while left or pending:
                while left and len(pending) < max_pending:
                    index = left.popleft()
                    target = self._upload.target(index + 1)
                    pending[self._executor.submit(make_and_put, self._parts[index], target)] = index
                done, _ = wait(pending, time_left(), FIRST_COMPLETED)
                if not done:
                    raise_late(self._upload.where)
                for future in done:
                    index = pending.pop(future)
                    if self._is_again(future, index):
                        left.append(index)
                    else:
                        self.etags[index] = future.result()
                        self._report()
        finally:
            end_all(pending)  # a running part could arrive after the abort

    def _is_again(self, future: Future[str], index: int) -> bool:
        """Whether the part failed and must be handed to a worker again."""
        failure = None if future.cancelled() else future.exception()
        if not (isinstance(failure, RemoteError) and is_transient(failure)):
            return False
        self._failed[index] = self._failed.get(index, 0) + 1
        return self._failed[index] < self._tries

    def _report(self) -> None:
        if self._on_progress is None:
            return
        there = [index for index, etag in enumerate(self.etags) if etag]
        size = self._token.part_size
        sent = len(there) * size - (there[-1:] == [len(self._parts) - 1]) * (size - len(self._parts[-1]))
        self._on_progress(PartsProgress(len(there), sent, len(self._parts), self._token.size, self._token))


def refuse_forks(executor: Executor) -> None:
    """Raise OptionError for processes made by fork(): their parent's threads, obstore's among them, do not exist there.

    Such a process waits for them forever, or ends by a signal.
    """
    context: Any = getattr(executor, "_mp_context", None)  # of a ProcessPoolExecutor
    if callable(getattr(context, "get_start_method", None)) and context.get_start_method() == "fork":
        raise OptionError(
            f"executor={typed_repr(executor)}: its processes are made by fork(), which the threads of obstore do not "
            "survive: give ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn')), or 'forkserver'"
        )


def make_and_put(part: Part, target: PartTarget) -> str:
    """Make the part and upload it; returns the store's mark of it. Runs on the worker."""
    if len(part) > MOST_HELD:
        part.find_checksums()  # a connection that waits for them would be closed
        return target.stream(len(part), part.__iter__)
    data = bytearray(len(part))
    at = 0
    for chunk in part:
        data[at : at + len(chunk)] = chunk
        at += len(chunk)
    return target.put(data)
