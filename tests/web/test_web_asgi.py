"""asgi_app by itself, mounted, and with clients that go away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.support.layouts import BytesLayout, archive
from tests.support.loops import StepLoop, other_tasks, run, step_threads, until
from tests.support.oracles import members
from zipstream_adapter import EntryTypeError, OptionError, async_stream_zip, stream_zip
from zipstream_adapter.web import Download, Request, asgi_app

DATA = archive()
Resolve = Callable[[Request], Any]


class Client:
    """Speaks ASGI with an application: what it was sent, and a way to go away."""

    def __init__(self, app: Any, scope_type: str = "http", **scope: Any) -> None:
        self._app = app
        self.scope = {"type": scope_type, "method": "GET", "path": "/", "headers": [], **scope}
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.refuses: type[Exception] | None = None  # what send() raises after the headers
        self._asked = 0

    async def receive(self) -> dict[str, Any]:
        self._asked += 1
        if self._asked == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if self.refuses and self.sent:
            raise self.refuses
        self.sent.append(message)
        await asyncio.sleep(0)

    async def ask(self) -> Client:
        async with asyncio.timeout(60):
            await self._app(self.scope, self.receive, self.send)
        assert not other_tasks()
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        bodies = self.sent[1:]
        assert [message["more_body"] for message in bodies] == [True] * (len(bodies) - 1) + [False]
        return b"".join(message["body"] for message in bodies)


def get(resolve: Resolve, headers: dict[str, str] | None = None, **scope: Any) -> Client:
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]

    async def main() -> Client:
        return await Client(asgi_app(resolve), headers=raw, **scope).ask()

    before = threading.enumerate()  # of other tests
    answer = run(main())
    assert not step_threads(before)
    return answer


def test_entries_are_streamed() -> None:
    answer = get(lambda request: [("a.txt", b"data")], path="/photos.zip")
    assert answer.status == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="photos.zip"'
    assert members(answer.body) == {"a.txt": b"data"}


def test_asynchronous_ways_to_resolve() -> None:
    loops: list[Any] = []

    async def coroutine(request: Request) -> Any:
        loops.append(asyncio.get_running_loop())
        return [("a.txt", b"data")]

    async def generator(request: Request) -> AsyncIterator[Any]:
        loops.append(asyncio.get_running_loop())
        yield "a.txt", b"data"

    class Callable_:
        async def __call__(self, request: Request) -> Any:
            return await coroutine(request)

    ways: list[Any] = [coroutine, generator, Callable_(), partial(coroutine), lambda request: coroutine(request)]
    for way in ways:
        assert members(get(way).body) == {"a.txt": b"data"}
    assert len(loops) == len(ways)


def test_a_plain_resolve_is_called_on_a_thread_with_the_context() -> None:
    who: ContextVar[str] = ContextVar("who")
    seen = []

    def resolve(request: Request) -> Any:
        seen.append((threading.current_thread() is threading.main_thread(), who.get()))

    async def main() -> Client:
        who.set("me")
        return await Client(asgi_app(resolve)).ask()

    assert run(main()).status == 404
    assert seen == [(False, "me")]


def test_a_layout_has_ranges() -> None:
    answer = get(lambda request: BytesLayout(DATA), {"Range": "bytes=100-199", "If-Range": '"tag"'})
    assert (answer.status, answer.body) == (206, DATA[100:200])
    answer = get(lambda request: BytesLayout(DATA), {"If-None-Match": '"tag"'})
    assert (answer.status, answer.body) == (304, b"")
    head = get(lambda request: BytesLayout(DATA), method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(DATA)))


def test_a_download_and_a_stream_of_ones_own() -> None:
    answer = get(lambda request: Download(async_stream_zip([("a", b"a")]), "世.zip", {"Vary": "Cookie"}))
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''%E4%B8%96.zip")
    assert answer.headers["vary"] == "Cookie"
    assert members(answer.body) == {"a": b"a"}


@pytest.mark.parametrize(
    ("root", "path", "below"),
    [
        ("", "/a", "/a"),
        ("/mounted", "/mounted/a", "/a"),  # as ASGI has it
        ("/mounted", "/a", "/a"),  # as some servers have it
        ("/mounted", "/mounted", ""),
        ("/mounted", "/mountedtoo", "/mountedtoo"),
    ],
)
def test_what_resolve_is_given(root: str, path: str, below: str) -> None:
    seen: list[Request] = []
    answer = get(seen.append, {"X-Who": "me"}, path=path, root_path=root, query_string=b"q=%20")
    assert (answer.status, answer.body) == (404, b"Not Found\n")
    (request,) = seen
    assert (request.method, request.root, request.path, request.query) == ("GET", root, below, "q=%20")
    assert request.headers["x-who"] == "me"
    assert request.raw["type"] == "http"


def test_mounted_in_starlette() -> None:
    ours = asgi_app(lambda request: [("path.txt", f"{request.root} {request.path}".encode())])

    async def main() -> Client:
        return await Client(Starlette(routes=[Mount("/archives", ours)]), path="/archives/a.zip").ask()

    assert members(run(main()).body) == {"path.txt": b"/archives /a.zip"}


def test_other_methods_are_refused_unresolved() -> None:
    answer = get(lambda request: 1 / 0, method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_what_fails_before_the_first_byte_starts_nothing() -> None:
    layout = BytesLayout(DATA, fails_at=0)
    ways: list[tuple[Resolve, type[Exception]]] = [
        (lambda request: layout, OSError),
        (lambda request: [("gone.txt", Path("/nowhere/at all"))], FileNotFoundError),
        (lambda request: request.headers["x-who"], KeyError),
        (lambda request: stream_zip([]), EntryTypeError),
        (lambda request: "photos.zip", EntryTypeError),
    ]
    for resolve, error in ways:

        async def main(resolve: Resolve = resolve, error: type[Exception] = error) -> None:
            client = Client(asgi_app(resolve))
            with pytest.raises(error):
                await client.ask()
            assert client.sent == []
            assert not other_tasks()

        run(main())
    assert (len(layout.opened), layout.closed) == (1, 1)


def test_what_fails_later_is_raised_before_the_end_is_said() -> None:
    layout = BytesLayout(DATA, fails_at=1000)

    async def main() -> Client:
        client = Client(asgi_app(lambda request: layout))
        with pytest.raises(OSError, match="the disk broke"):
            await client.ask()
        return client

    client = run(main())
    assert len(client.sent) > 1
    assert all(message["more_body"] for message in client.sent[1:])
    # The last one is out of place, so that who takes the end of an application for that of the body fails here.
    assert client.sent[-1]["type"] == "http.response.pathsend"
    assert not Path(client.sent[-1]["path"]).exists()
    assert (len(layout.opened), layout.closed) == (1, 1)


class Waits:
    """A source that gives a little, and then nothing for long."""

    def __init__(self) -> None:
        self.waits, self.closed = asyncio.Event(), 0

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            yield b"a" * (1 << 20)
            self.waits.set()
            await asyncio.sleep(1000)
        finally:
            self.closed += 1


@pytest.mark.parametrize("how", ["the client goes", "the task is cancelled"])
def test_an_end_while_a_source_waits_closes_it(how: str) -> None:
    async def main() -> None:
        source = Waits()
        client = Client(asgi_app(lambda request: [("a", source.chunks())]))
        task = asyncio.ensure_future(client._app(client.scope, client.receive, client.send))
        await source.waits.wait()
        assert client.status == 200
        if how == "the client goes":
            client.gone.set()
            await task
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert source.closed == 1
        assert all(message.get("more_body", True) for message in client.sent)
        assert not other_tasks()

    before = threading.enumerate()
    run(main())
    assert not step_threads(before)


@pytest.mark.parametrize("how", ["the client goes", "the task is cancelled"])
def test_an_end_at_any_step_closes_all(how: str) -> None:
    """Whatever is under way then: resolving on a thread, the first bytes, sending."""
    ended_early = 0
    before = threading.enumerate()
    for step in range(1, 80):
        loop, layout = StepLoop(), BytesLayout(DATA, chunk=100)

        async def main(step: int = step, loop: StepLoop = loop, layout: BytesLayout = layout) -> bool:
            client = Client(asgi_app(lambda request: layout))
            task = asyncio.ensure_future(client._app(client.scope, client.receive, client.send))
            loop.in_steps(step, client.gone.set if how == "the client goes" else task.cancel)
            await asyncio.wait((task,), timeout=60)
            loop.forget()
            assert not other_tasks()
            assert layout.closed == len(layout.opened)
            if not task.cancelled():
                task.result()
            whole = bool(client.sent) and not client.sent[-1].get("more_body", True)
            assert not whole or client.body == DATA
            return not whole

        ended_early += run(main(), lambda loop=loop: loop)  # type: ignore[misc]
        assert not step_threads(before)
    assert 10 < ended_early < 79


def test_a_client_that_goes_while_resolving() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def resolve(request: Request) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.set()

        client = Client(asgi_app(resolve))
        client.gone.set()
        await client.ask()
        assert ended.is_set() and client.sent == []

    run(main())


def test_a_thread_that_resolves_is_waited_for() -> None:
    async def main() -> None:
        begun, go, ended = threading.Event(), threading.Event(), threading.Event()

        def resolve(request: Request) -> None:
            begun.set()
            go.wait(60)
            ended.set()

        client = Client(asgi_app(resolve))
        task = asyncio.ensure_future(client._app(client.scope, client.receive, client.send))
        await until(begun.is_set)
        client.gone.set()
        await asyncio.sleep(0.01)
        assert not task.done()
        go.set()
        await task
        assert ended.is_set() and client.sent == []

    run(main())


def test_a_server_that_says_that_the_client_is_gone() -> None:
    """From ASGI 2.4 on, send() raises an OSError: this is no failure of ours."""
    layout = BytesLayout(DATA)

    async def main() -> None:
        client = Client(asgi_app(lambda request: layout))
        client.refuses = BrokenPipeError
        await client.ask()

    run(main())
    assert (len(layout.opened), layout.closed) == (1, 1)


def test_what_else_a_server_raises_comes_out() -> None:
    async def main() -> None:
        client = Client(asgi_app(lambda request: BytesLayout(DATA)))
        client.refuses = RuntimeError
        with pytest.raises(RuntimeError):
            await client.ask()

    run(main())


def test_the_lifespan_is_answered() -> None:
    async def main() -> None:
        sent: list[Any] = []
        asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(asked)

        async def send(message: Any) -> None:
            sent.append(message)

        await asgi_app(lambda request: None)({"type": "lifespan"}, receive, send)
        assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    run(main())


def test_other_kinds_of_scope() -> None:
    async def main() -> None:
        client = Client(asgi_app(lambda request: None), "websocket")
        await client.ask()
        assert client.sent == [{"type": "websocket.close"}]
        with pytest.raises(ValueError, match="'telepathy'"):
            await Client(asgi_app(lambda request: None), "telepathy").ask()

    run(main())


def test_options_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="compresion"):
        asgi_app(lambda request: None, compresion="deflate")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="resolve="):
        asgi_app([("a", b"a")])  # type: ignore[arg-type]
