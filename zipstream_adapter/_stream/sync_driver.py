"""The driver of a synchronous stream. It runs each request at once, in the consumer's thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

from .._concurrency.patience import NOTHING_YET
from .._entries.error_notes import note_closing
from .._entries.source import OpenSource
from . import requests
from .producer import Producer


def run(producer: Producer) -> Generator[bytes, None, None]:
    """Run the steps of `producer`; yield the archive's bytes."""
    held, answers, steps = producer.held, _answers(producer), producer.steps()
    held.is_begun, is_gone, producer.reads_until = True, False, math.inf
    try:
        out = next(steps)
        while True:
            if type(out) is bytes:
                try:
                    yield out
                except GeneratorExit:
                    is_gone = True
                out = steps.throw(requests.ConsumerGone()) if is_gone else next(steps)
                continue
            try:
                answer = answers[type(out)](out)
            except BaseException as exc:
                out = steps.throw(exc)
            else:
                out = steps.send(answer)
    except (StopIteration, requests.ConsumerGone):
        pass
    except BaseException as exc:
        for close in (steps.close, held.let_go):
            try:
                close()
            except Exception as second:
                note_closing(exc, second, "the entries")
        raise
    finally:
        try:
            steps.close()  # unless they have ended: an interrupt has ended this loop
        finally:
            held.let_go()


def _answers(producer: Producer) -> dict[type, Callable[[Any], Any]]:
    """Return the function that runs each kind of request."""
    held, chunk_size, cuts = producer.held, producer.archive.sink.chunk_size, producer.cuts
    prefetch, on_progress, is_awaited = producer.options.prefetch, producer.options.on_progress, producer.is_awaited

    def peek(request: requests.PeekOn) -> Any:
        held.source = source = request.source
        return source, source.peek(request.limit, is_awaited)

    def report(request: requests.Report) -> None:
        assert on_progress is not None
        for progress in request.progress:
            on_progress(progress)

    return {
        requests.Items: lambda _: (held.items(producer.entries, prefetch, chunk_size, cuts), False),
        requests.CloseItems: lambda _: held.let_go_of_items(),
        requests.Open: lambda request: OpenSource(request.entry, chunk_size, cuts=cuts, closing=held.new_source()),
        requests.Take: lambda request: request.source.open(),
        requests.PeekAtOnce: lambda request: (request.source, NOTHING_YET),
        requests.PeekOn: peek,
        requests.Read: lambda request: (request.source, False),
        requests.Close: lambda request: request.source.close(),
        requests.Call: lambda request: request.function(),
        requests.Check: lambda request: request.function(*request.arguments),
        requests.Report: report,
        requests.Work: lambda _: None,
        requests.LetGo: lambda _: held.let_go(),
    }
