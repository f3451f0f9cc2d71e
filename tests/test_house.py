"""The house: which room may import which, what the door shows, and what opening it costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zipstream_adapter

PACKAGE = Path(zipstream_adapter.__file__).parent
CHECKOUT = Path(__file__).parent.parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A room imports from those above it, never from its neighbours in a row or from below.
ORDER: list[set[str]] = [
    {"aio_wait", "checksum", "counts", "errors", "records", "steps", "zstd"},
    {"table"},
    {"ciphers", "compress", "dates", "layout_file", "lookahead", "names", "sink"},
    {"engines", "fields", "infos"},
    {"http_send", "remote_directory", "remote_store"},
    {"upload_s3"},
    {"archived", "store_source"},
    {"entry"},
    {"coercion", "describe", "mixture", "notes", "source", "tree"},
    {"parallel", "store_entries"},
    {"aio_files", "aio_threads", "checksums", "pinned", "prefetch", "taken"},
    {"encryption", "layout_aio", "remote_decoding", "remote_object", "rereading"},
    {"remote_parts"},
    {"remote_ahead"},
    {"remote_member"},
    {"remote_stored"},
    {"remote_zip"},
    {"remote_aio"},
    {"coding"},
    {"member"},
    {"ranges"},
    {"layout_parts"},
    {"archive"},
    {"small"},
    {"options", "quick"},
    {"pipeline"},
    {"plan"},
    {"aio_source", "facade", "layout"},
    {"aio_prefetch", "stream"},
    {"aio_pipeline", "upload"},
    {"aio"},
    {"upload_aio", "upload_workers"},
    {"remote"},
    {"web_fields"},
    {"mod_zip", "web_ranges"},
    {"web_answer"},
    {"web_request"},
    {"web_asgi", "web_wsgi"},
    {"web"},
    {
        "compat.clock",
        "compat.contexts",
        "compat.small_members",
        "compat.stream_zip_errors",
        "compat.zipstream_ng_members",
    },
    {
        "compat.aiozipstream",
        "compat.django_zip_stream",
        "compat.push",
        "compat.spideroak",
        "compat.stream_zip_members",
        "compat.zipfly64_files",
        "compat.zipstream",
        "compat.zipstream_ng_bytes",
        "compat.zipstreamer",
    },
    {"compat.stream_zip", "compat.zipfly64", "compat.zipstream_ng"},
    {"cli_remote"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
# What may be missing where the package is installed: nothing that is imported with the root may need it.
MAY_IMPORT_OUTSIDERS = {"aiofiles", "typing_extensions"}
# What only one room needs, and has an extra for.
EXTRAS = {"compat.django_zip_stream": {"django"}, "web_fields": {"werkzeug"}}


def room_of(source: Path) -> str:
    return ".".join(source.relative_to(PACKAGE).with_suffix("").parts)


def imports(source: Path) -> Iterator[tuple[str, int]]:
    """(absolute dotted module, line) of every import, those in functions and under TYPE_CHECKING included."""
    home = ["zipstream_adapter", *source.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            target = [*base, *([node.module] if node.module else [])]
            if node.level and not node.module:  # from . import room
                for alias in node.names:
                    is_room = (PACKAGE.parent / Path(*target) / f"{alias.name}.py").is_file()
                    yield ".".join([*target, alias.name] if is_room else target), node.lineno
            else:
                yield ".".join(target), node.lineno


def inner_imports(source: Path) -> list[tuple[str, int]]:
    """(room, line) of every import from the package; the room of the root is ""."""
    found = [(name.split("."), line) for name, line in imports(source)]
    return [(".".join(parts[1:]), line) for parts, line in found if parts[0] == "zipstream_adapter"]


ROOMS = [source for source in SOURCES if source.name != "__init__.py"]


@pytest.mark.parametrize("source", ROOMS, ids=room_of)
def test_rooms_import_only_from_rooms_before_them(source: Path) -> None:
    room = room_of(source)
    assert room in FLOOR, f"{room} is a new room: give it its place in ORDER"
    for target, line in inner_imports(source):
        assert target, f"{source.name}:{line} imports the package root"
        assert FLOOR[target] < FLOOR[room], f"{source.name}:{line} imports {target}, which does not come before it"


def test_every_place_in_the_order_has_a_room() -> None:
    assert sorted(FLOOR) == sorted(map(room_of, ROOMS))


@pytest.mark.parametrize("source", SOURCES, ids=room_of)
def test_nothing_beyond_the_standard_library_is_imported_by_the_core(source: Path) -> None:
    known = sys.stdlib_module_names | {"zipstream_adapter"} | MAY_IMPORT_OUTSIDERS | EXTRAS.get(room_of(source), set())
    assert [name for name, _ in imports(source) if name.split(".")[0] not in known] == []


@pytest.mark.parametrize("source", [each for each in SOURCES if each.parent.name == "compat"], ids=room_of)
def test_compat_minds_what_is_private(source: Path) -> None:
    text = source.read_text("utf-8")
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    private = {node.attr for node in nodes if node.attr.startswith("_") and not node.attr.startswith("__")} - {
        "_replace"
    }  # a NamedTuple's
    private.discard("_replace")  # a NamedTuple's
    of_others = {
        node.attr for node in nodes if not isinstance(node.value, ast.Name) or node.value.id not in ("self", "cls")
    }
    assert [name for name in private & of_others if f"def {name}(" not in text and f"self.{name} = " not in text] == []


def test_all_is_sorted_and_is_what_the_package_exports() -> None:
    assert zipstream_adapter.__all__ == sorted(zipstream_adapter.__all__)
    assert set(zipstream_adapter.__all__) == set(zipstream_adapter._ROOMS)
    assert set(zipstream_adapter.__all__) <= set(dir(zipstream_adapter))
    for name, room in zipstream_adapter._ROOMS.items():
        value = getattr(zipstream_adapter, name)
        assert value is getattr(sys.modules[f"zipstream_adapter.{room}"], name)
        assert getattr(value, "__module__", None) == f"zipstream_adapter.{room}"
    with pytest.raises(AttributeError, match="no attribute 'stream_zap'"):
        zipstream_adapter.stream_zap  # noqa: B018


def test_no_room_takes_the_name_of_what_is_exported() -> None:
    """Importing it would put the room in its place."""
    assert not {source.stem for source in PACKAGE.glob("*.py")} & set(zipstream_adapter.__all__)


def test_everything_exported_has_a_docstring_of_its_own() -> None:
    bare = [name for name in zipstream_adapter.__all__ if not inspect.getdoc(getattr(zipstream_adapter, name))]
    assert bare == []


def test_importing_the_package_is_cheap_and_needs_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import zipstream_adapter\n"
        "from zipstream_adapter import Entry, StreamingZipFile, stream_zip, walk\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "zipstream_adapter" in loaded
    assert loaded - sys.stdlib_module_names == {"zipstream_adapter"}
    assert not loaded & {"asyncio", "aiofiles", "concurrent", "multiprocessing", "socket", "http", "argparse"}


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("source", SOURCES, ids=room_of)
def test_no_file_grows_past_400_lines(source: Path) -> None:
    assert len(source.read_text("utf-8").splitlines()) <= 400
