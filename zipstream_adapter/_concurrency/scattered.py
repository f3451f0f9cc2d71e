"""Run calls on the caller's executor, a limited number at a time, and return the results as they come."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, NamedTuple, TypeVar

from .._checks import count_of, typed_repr
from ..errors import OptionError

K = TypeVar("K")
DEFAULT_MOST = 64


class Task(NamedTuple):
    """A call for a worker: `function`, which a process must be able to import, and its `arguments`."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def check_executor(executor: Any, max_concurrency: Any) -> int:
    """Return the most calls to submit at a time. Raises OptionError if one of the two arguments is invalid."""
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        raise OptionError(f"executor={typed_repr(executor)}: give a concurrent.futures.Executor")
    most = count_of(max_concurrency, 1)
    if most is None:
        raise OptionError(f"max_concurrency={max_concurrency!r}: give a whole number, 1 or more")
    return most


def scatter(
    executor: Executor, tasks: Iterable[tuple[K, Task]], most: int
) -> Generator[tuple[K, Future[Any]], None, None]:
    """Submit the `tasks`, up to `most` at a time. Yields the key and the future of each, as they are done.

    Closing the generator, or a failure of `tasks`, cancels the others and waits for those that run.
    """
    left, pending = iter(tasks), dict[Future[Any], K]()
    has_more = True
    try:
        while True:
            while has_more and len(pending) < most:
                following = next(left, None)
                if following is None:
                    has_more = False
                    break
                key, task = following
                pending[_submit(executor, task)] = key
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future
    finally:
        end_all(pending)


def end_all(futures: Iterable[Future[Any]]) -> None:
    """Cancel what has not begun, and wait for the rest.

    What could be cancelled is not waited for: Dask's executor may never report that to those who wait.
    """
    wait([future for future in futures if not future.cancel()])


def _submit(executor: Executor, task: Task) -> Future[Any]:
    """Submit a task. If the executor refuses it, such as arguments that it cannot send, its future has failed."""
    try:
        return executor.submit(task.function, *task.arguments)
    except Exception as exc:
        refused: Future[Any] = Future()
        refused.set_exception(exc)
        return refused
