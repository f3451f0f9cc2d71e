"""Context variables as in stream-zip: code runs in one copy of the caller's context, which keeps what the code sets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class OwnContext:
    """Awaits objects in one separate context: a copy of the context in which the first of them is awaited.

    Makes no task, so a cancellation or timeout of the caller's task reaches the awaited object directly.
    """

    def __init__(self) -> None:
        self._context: Context | None = None

    def __call__(self, awaitable: Awaitable[T]) -> Awaitable[T]:
        if self._context is None:
            self._context = copy_context()
        return _Within(self._context.run, awaitable)


class _Within(Generic[T]):
    def __init__(self, run: Callable[..., Any], awaitable: Awaitable[T]) -> None:
        self._run = run
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, T]:
        run, steps = self._run, _awaited(self._awaitable)
        step = partial(run, steps.send, None)
        while True:
            try:
                waited = step()
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            try:
                sent = yield waited
            except GeneratorExit:
                run(steps.close)
                raise
            except BaseException as exc:
                step = partial(run, steps.throw, exc)
            else:
                step = partial(run, steps.send, sent)


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable
