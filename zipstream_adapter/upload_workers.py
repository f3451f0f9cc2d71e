"""One archive written into an S3 object by many workers, on other machines if need be (extra ``s3``)."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import TYPE_CHECKING, Any

from .errors import OptionError
from .fields import described
from .layout import ZipLayout
from .layout_parts import Part
from .upload import Job, Uploaded
from .upload_s3 import Multipart, PartTarget, put_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor


def upload_parts(
    store: Any,
    path: str,
    layout: ZipLayout,
    executor: Executor,
    *,
    part_size: int | None = None,
    max_concurrency: int = 64,
) -> Uploaded:
    """Write the archive of `layout` into one S3 object, whose parts workers make and upload: all of it, or nothing.

    What goes to a worker is a `Part` of the layout (some hundred bytes for each member that it touches) and a signed
    URL, which holds for 12 hours; what comes back is an ETag. Workers need no credentials, but they need the sources:
    files under the same paths, or objects (`Entry.from_store`).

    Args:
        store: an obstore S3Store, of Amazon's or whoever else speaks S3. (Google's buckets do, with an HMAC key.) Its
            credentials are its own options, those in the environment (AWS_ACCESS_KEY_ID …), or its
            `credential_provider`'s; where a store finds them elsewhere, such as on an EC2 instance, give it
            ``credential_provider=obstore.auth.boto3.Boto3CredentialProvider()``.
        path: the object's path in it. One that is there already is replaced when the archive is whole.
        layout: the archive. What its checksums need is read by the workers, too; where that is much, let
            `layout.find_checksums` find them first, or declare them.
        executor: a concurrent.futures.Executor: threads, processes, or one that leaves the machine, such as
            `get_executor()` of a Dask client. It stays yours.
        part_size: bytes of a part, 5 MiB to 5 GiB; a worker has one in memory. Default: 8 MiB, or as many more as it
            takes for 10,000 parts to be enough.
        max_concurrency: parts that the executor has at a time, waiting ones included.

    Raises OptionError, LimitError at once; what making a part raises, of which the first is raised; RemoteError of the
    store. Whatever is raised: parts that are being made have been waited for (where the executor says that they are),
    the upload has been aborted, and what stood under that name still does.
    """
    if not isinstance(layout, ZipLayout):
        raise OptionError(f"layout={described(layout)}: give a ZipLayout; upload_zip takes streams and entries")
    if not callable(getattr(executor, "submit", None)):
        raise OptionError(f"executor={described(executor)}: give a concurrent.futures.Executor")
    job = Job(store, path, part_size, max_concurrency, None)
    job.begin(layout.size, None)
    upload = Multipart(store, path)
    try:
        etags = _uploaded(upload, layout.parts(job.part_size), executor, max_concurrency)
        etag, version = upload.complete(etags)
    except BaseException as exc:
        upload.abort(exc)
        raise
    return Uploaded(path, layout.size, etag, version)


def _uploaded(upload: Multipart, parts: Sequence[Part], executor: Executor, most: int) -> list[str]:
    """The ETags of all parts."""
    etags = [""] * len(parts)
    pending: dict[Future[str], int] = {}

    def submitted(count: int) -> None:
        for index in islice(coming, count):
            pending[executor.submit(make_and_put, parts[index], upload.target(index + 1))] = index

    coming: Iterator[int] = iter(range(len(parts)))
    try:
        submitted(most)
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                etags[pending.pop(future)] = future.result()
            submitted(len(done))
    finally:
        for future in pending:
            future.cancel()
        wait(pending)  # what is on its way could arrive after the abort
    return etags


def make_and_put(part: Part, target: PartTarget) -> str:
    """What a worker does: make the part, and upload it; returns its ETag."""
    return put_part(target, list(iter(part)))
