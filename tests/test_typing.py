"""Type checkers see wrong names and values in a user's module, and nothing to say about right ones.

mypy is part of the extra ``ci``. pyright is asked if it is installed: it is in no extra, as it downloads Node on its
first run.
"""

from __future__ import annotations

import ast
import inspect
import json
import pydoc
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support.loops import module
from tests.test_readme import PYTHON
from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    StreamingZipFile,
    ZipLayout,
    ZipStream,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter._compression.methods import _ALIASES, METHODS, Compression
from zipstream_adapter._entries.coercion import _OPTION_KEYS
from zipstream_adapter._entries.entry import RawEntry
from zipstream_adapter._entries.types import EntryChanges, EntryOptions, RawOptions
from zipstream_adapter._writer.options import AsyncStreamOptions, LayoutOptions, Options, StreamOptions
from zipstream_adapter.remote import open_remote, open_remote_async, upload_zip, upload_zip_async, walk_store
from zipstream_adapter.remote import store_options as stores
from zipstream_adapter.web import asgi_app, wsgi_app

USERS = Path(__file__).parent / "users"
WRONG, RIGHT = USERS / "wrong_calls.py", USERS / "right_calls.py"
_IGNORE = re.compile(r"  # type: ignore\[([\w, -]+)\]")
_MYPY = """
[mypy]
strict = True
ignore_missing_imports = True
[mypy-readme.*]
disallow_untyped_defs = False
disallow_untyped_calls = False
disallow_any_generics = False
"""


def wrong_calls() -> dict[int, set[str]]:
    """The lines of the wrong calls, and the codes of mypy's errors."""
    lines = enumerate(WRONG.read_text("utf-8").splitlines(), 1)
    return {number: set(found[1].split(", ")) for number, line in lines if (found := _IGNORE.search(line))}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project: the calls, without ignores, and the code of README and of the documentation."""
    project = tmp_path_factory.mktemp("project")
    (project / "wrong_calls.py").write_text(_IGNORE.sub("", WRONG.read_text("utf-8")), "utf-8")
    (project / "right_calls.py").write_text(RIGHT.read_text("utf-8"), "utf-8")
    (project / "readme").mkdir()
    (project / "readme" / "__init__.py").touch()
    for number, block in enumerate(PYTHON):
        (project / "readme" / f"block{number}.py").write_text(block.code, "utf-8")
    return project


def test_mypy_sees_each_wrong_call_and_no_error_elsewhere(project: Path) -> None:
    module("mypy")
    (project / "mypy.ini").write_text(_MYPY, "utf-8")
    command = [sys.executable, "-m", "mypy", "--cache-dir=cache", "--no-error-summary", "."]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=200)
    found: dict[int, set[str]] = {}
    elsewhere = []
    for line in done.stdout.splitlines():
        if error := re.match(r"wrong_calls\.py:(\d+): error: .*\[([\w-]+)\]$", line):
            found.setdefault(int(error[1]), set()).add(error[2])
        elif ": note: " not in line:
            elsewhere.append(line)
    assert (elsewhere, done.stderr) == ([], "")
    assert found == wrong_calls()
    assert len(found) >= 23


def test_pyright_sees_each_wrong_call_and_no_error_elsewhere(project: Path) -> None:
    pyright = shutil.which("pyright") or shutil.which("pyright", path=str(Path(sys.executable).parent))
    if pyright is None:
        pytest.skip("pyright is not installed")
    module("aiohttp")  # whose types the calls use
    config = {"strict": ["*.py"], "typeCheckingMode": "basic", "reportMissingImports": False}
    (project / "pyrightconfig.json").write_text(json.dumps(config), "utf-8")
    command = [pyright, "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=200)
    found: dict[str, set[int]] = {}
    for error in json.loads(done.stdout)["generalDiagnostics"]:
        if error["severity"] == "error":
            name = str(Path(error["file"]).relative_to(project.resolve()))
            found.setdefault(name, set()).add(error["range"]["start"]["line"] + 1)
    assert found == {"wrong_calls.py": set(wrong_calls())}


def keywords(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of `function`, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def test_the_lists_of_options_are_one() -> None:
    spelled_out = keywords(stream_zip)
    assert spelled_out == {name: Options._field_defaults[name] for name in spelled_out}
    assert StreamOptions.__optional_keys__ == AsyncStreamOptions.__optional_keys__ == spelled_out.keys()
    for other in (ZipStream, AsyncZipStream, async_stream_zip):
        assert list(keywords(other).items()) == list(spelled_out.items())
    of_layouts = {name: value for name, value in spelled_out.items() if name in LayoutOptions.__optional_keys__}
    assert list(keywords(ZipLayout).items()) == list(of_layouts.items())
    assert LayoutOptions.__optional_keys__ == of_layouts.keys()


def test_signatures_say_what_an_option_may_be() -> None:
    for other in (ZipStream, async_stream_zip):
        there, here = inspect.signature(stream_zip).parameters, inspect.signature(other).parameters
        differing = {name for name in keywords(stream_zip) if there[name].annotation != here[name].annotation}
        assert differing == (set() if other is ZipStream else {"on_error"})
    for documented in (ZipStream, AsyncZipStream, async_stream_zip, ZipLayout):
        assert re.search(r"duplicates: .?DuplicatePolicy.? = 'error'", pydoc.plain(pydoc.render_doc(documented)))


@pytest.mark.parametrize("kind", [ZipStream, AsyncZipStream, ZipLayout])
def test_a_subclass_has_the_signature_of_its_own_init(kind: Any) -> None:
    class Mine(kind):  # type: ignore[misc]
        def __init__(self, folder: Path, *, comment: bytes = b"", **others: Any) -> None:
            super().__init__(walk(folder), comment=comment, **others)

    class Same(kind):  # type: ignore[misc]
        pass

    assert list(inspect.signature(Mine).parameters) == ["folder", "comment", "others"]
    assert inspect.signature(Same) == inspect.signature(kind)


UNKNOWN: dict[str, Callable[..., Any]] = {
    "stream_zip": lambda **options: stream_zip([], **options),
    "ZipStream": lambda **options: ZipStream([], **options),
    "async_stream_zip": lambda **options: async_stream_zip([], **options),
    "AsyncZipStream": lambda **options: AsyncZipStream([], **options),
    "ZipLayout": lambda **options: ZipLayout([], **options),
    "StreamingZipFile": lambda **options: StreamingZipFile(**options),
    "walk": lambda **options: walk("photos", **options),
    "walk_store": lambda **options: walk_store(None, **options),
    "upload_zip": lambda **options: upload_zip(None, "a.zip", [], **options),
    "upload_zip_async": lambda **options: upload_zip_async(None, "a.zip", [], **options).send(None),
    "wsgi_app -> stream_zip": lambda **options: wsgi_app(lambda request: None, **options),
    "asgi_app -> async_stream_zip": lambda **options: asgi_app(lambda request: None, **options),
    "Entry.from_path -> Entry": lambda **options: Entry.from_path("a.txt", **options),
}


@pytest.mark.parametrize("callee", UNKNOWN)
def test_an_unknown_option_is_named_with_the_callable(callee: str) -> None:
    named = callee.rpartition(" ")[2]
    with pytest.raises(TypeError, match=rf"^{named}(\.__init__)?\(\) got an unexpected keyword argument 'compresion'"):
        UNKNOWN[callee](compresion="deflate")


def test_a_misspelt_option_has_a_hint() -> None:
    with pytest.raises(TypeError, match=r"'chunksize'\. Did you mean 'chunk_size'\?$"):
        UNKNOWN["ZipLayout"](chunksize=1)
    with pytest.raises(TypeError, match=r"'on_error', which is an option of streams: .*leave out ranges=True"):
        UNKNOWN["ZipLayout"](on_error=print)


@pytest.mark.parametrize("callee", ["ZipStream", "AsyncZipStream"])
@pytest.mark.parametrize("name", sorted(Options._field_defaults.keys() - StreamOptions.__optional_keys__))
def test_an_option_for_modules_of_the_package_is_unknown_to_users(callee: str, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{callee}\(\) got an unexpected keyword argument '{name}'"):
        UNKNOWN[callee](**{name: None})


def test_methods_may_be_called_by_all_their_names() -> None:
    names = {name for each in get_args(Compression) for name in get_args(each)}
    assert names == METHODS.keys() | _ALIASES.keys()


def test_the_lists_of_the_options_of_an_entry_are_one() -> None:
    assert EntryOptions.__optional_keys__ == keywords(Entry).keys() == set(_OPTION_KEYS)
    required = {"compression", "size", "crc32", "compressed_size"}
    assert RawOptions.__optional_keys__ | required == keywords(RawEntry).keys()
    assert EntryChanges.__optional_keys__ == {*Entry._fields, *RawEntry._fields}


def test_the_lists_of_the_options_of_open_remote_are_one() -> None:
    own = stores.ArchiveOptions.__optional_keys__ - stores.StoreOptions.__optional_keys__
    assert own == keywords(open_remote).keys() == keywords(open_remote_async).keys()


@pytest.mark.parametrize(
    ("stub", "theirs", "ours"),
    [
        ("_client", "ClientConfig", stores.ClientOptions),
        ("_aws", "S3Config", stores.S3Options),
        ("_gcs", "GCSConfig", stores.GoogleOptions),
        ("_azure", "AzureConfig", stores.AzureOptions),
    ],
)
def test_the_options_of_stores_are_those_of_obstore(stub: str, theirs: str, ours: Any) -> None:
    (folder,) = module("obstore").__path__
    text = (Path(folder) / "_store" / f"{stub}.pyi").read_text("utf-8")
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    fields = [node.target.id for node in classes[theirs].body if isinstance(node, ast.AnnAssign)]  # type: ignore[union-attr]
    assert ours.__optional_keys__ == set(fields) - {"bucket", "container_name"}  # which the URL names
