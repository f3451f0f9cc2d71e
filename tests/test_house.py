"""The house: which package may import which, what the root shows, and what importing it costs."""

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

# A package or a single file imports from the rows above it; a package from itself, too.
ROWS: list[set[str]] = [
    {"errors"},
    {"_checks", "_buffers"},
    {"_format", "_concurrency"},
    {"_compression"},
    {"_entries"},
    {"_writer"},
    {"_stream"},
    {"_layout"},
    {"remote"},
    {"web"},
    {"compat"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ROWS) for room in rooms}
# Imports from below to above, all of them within a function, and why.
EXCEPTIONS = {
    ("_entries.entry", "remote.object_source"): "Entry.from_store is for those who have the extra s3",
}
# Packages outside of the standard library that are imported with the package.
MAY_IMPORT_OUTSIDERS = {"aiofiles", "typing_extensions"}
# A package that one module needs, and that has an extra.
EXTRAS = {
    "compat.django_zip_stream": {"django"},
    "web.headers": {"werkzeug"},
    **{f"web.{name}": {name} for name in ("aiohttp", "django", "falcon", "flask", "quart", "starlette")},
    "remote.file_system": {"fsspec"},
    "cli.run": {"shtab"},
    "cli.serve.command": {"uvicorn"},
}


def module_of(source: Path) -> str:
    parts = source.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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
            for alias in node.names:
                inner = PACKAGE.parent / Path(*target, alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield ".".join([*target, alias.name] if is_module else target), node.lineno


def inner_imports(source: Path) -> set[tuple[str, int]]:
    """(module, line) of every import from the package; the module of the root is ""."""
    found = [(name.split("."), line) for name, line in imports(source)]
    return {(".".join(parts[1:]), line) for parts, line in found if parts[0] == "zipstream_adapter"}


PRIVATE = sorted(room for room in FLOOR if (PACKAGE / room).is_dir() and room.startswith("_"))
MODULES = [source for source in SOURCES if source != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("source", MODULES, ids=module_of)
def test_modules_import_only_from_rows_above_their_own(source: Path) -> None:
    module = module_of(source)
    room = module.partition(".")[0]
    assert room in FLOOR, f"{room} is new at the top: give it a row in ROWS"
    for target, line in inner_imports(source):
        other = target.partition(".")[0]
        assert target, f"{module}:{line} imports the package root"
        if other != room and (module, target) not in EXCEPTIONS:
            assert FLOOR[other] < FLOOR[room], f"{module}:{line} imports {target}, whose row is not above its own"


def test_every_place_in_the_rows_has_a_room() -> None:
    assert sorted(FLOOR) == sorted({module_of(source).partition(".")[0] for source in MODULES})


def test_sixteen_rooms_stand_at_the_top() -> None:
    assert len({module_of(source).partition(".")[0] for source in MODULES} | {"__init__"}) <= 16


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {module_of(source): {target for target, _ in inner_imports(source)} for source in MODULES}
    for module, target in EXCEPTIONS:
        arrows[module].discard(target)
    state: dict[str, str] = {}

    def walk(module: str, way: list[str]) -> None:
        state[module] = "open"
        for target in sorted(arrows.get(module, ())):
            assert state.get(target) != "open", f"a circle: {' -> '.join([*way, module, target])}"
            if target not in state:
                walk(target, [*way, module])
        state[module] = "done"

    for module in sorted(arrows):
        if module not in state:
            walk(module, [])


@pytest.mark.parametrize("package", PRIVATE)
def test_a_private_package_says_its_job_its_imports_and_its_rule(package: str) -> None:
    docstring = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text("utf-8"))) or ""
    assert "Imports: " in docstring
    assert "Rule: " in docstring


@pytest.mark.parametrize("source", SOURCES, ids=module_of)
def test_nothing_beyond_the_standard_library_is_imported_by_the_core(source: Path) -> None:
    known = sys.stdlib_module_names | {"zipstream_adapter"} | MAY_IMPORT_OUTSIDERS
    known |= EXTRAS.get(module_of(source), set())
    assert [name for name, _ in imports(source) if name.split(".")[0] not in known] == []


@pytest.mark.parametrize("source", sorted((PACKAGE / "compat").rglob("*.py")), ids=module_of)
def test_compat_touches_nothing_private_of_other_objects(source: Path) -> None:
    text = source.read_text("utf-8")
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    private = {node.attr for node in nodes if node.attr.startswith("_") and not node.attr.startswith("__")}
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
        public = "zipstream_adapter" if room.startswith("_") else f"zipstream_adapter.{room}"
        assert getattr(value, "__module__", None) == public
    with pytest.raises(AttributeError, match="no attribute 'stream_zap'"):
        zipstream_adapter.stream_zap  # noqa: B018


def test_editors_see_what_the_package_exports() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    seen = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(zipstream_adapter.__all__) <= seen


def test_no_module_at_the_top_takes_the_name_of_an_export() -> None:
    """Importing it would put the module in the place of the export."""
    assert not {source.stem for source in PACKAGE.iterdir()} & set(zipstream_adapter.__all__)


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
        timeout=200,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "zipstream_adapter" in loaded
    assert loaded - sys.stdlib_module_names == {"zipstream_adapter"}
    assert not loaded & {"asyncio", "aiofiles", "concurrent", "multiprocessing", "socket", "http", "argparse"}


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
