"""The code of README and of the documentation runs, and their tables name what the functions take."""

from __future__ import annotations

import ast
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import zipstream_adapter
from tests.support.buckets import BUCKET, KEYS, Bucket, need_obstore, serving
from tests.support.loops import module
from tests.support.oracles import members, need, seven_zip_with
from tests.support.servers import serve
from tests.test_house import ROWS
from zipstream_adapter import Entry, async_stream_zip, stream_zip

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "pages"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(PAGES.rglob("*.md"))]
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# The modules that a block needs for what it does, besides those that it imports.
NEEDS = {"password=": "Crypto.Cipher.AES", "zipstream_adapter.web": "werkzeug"}


class Block(NamedTuple):
    page: str
    number: int
    language: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.page}-{self.number}"


def blocks_of(path: Path) -> Iterator[Block]:
    page = path.relative_to(ROOT).as_posix().removeprefix("docs/pages/").removesuffix(".md")
    for number, found in enumerate(_BLOCK.finditer(path.read_text("utf-8"))):
        yield Block(page, number, found[2], found[3])


BLOCKS = [block for path in SOURCES for block in blocks_of(path)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SH = [block for block in BLOCKS if block.language == "sh"]
SETUPS = [block for block in SH if block.code.startswith("python3 -m venv")]
SERVERS = [block for block in SH if re.match(r"(gunicorn|uvicorn|hypercorn|waitress-serve) ", block.code)]
COMMANDS = [block for block in SH if block not in SETUPS and block not in SERVERS]
NGINX = [block for block in BLOCKS if block.language == "nginx"]


def named(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [pytest.param(block, id=block.name) for block in blocks])


def block_with(page: str, text: str) -> Block:
    """The only block of the page with that text."""
    (found,) = [block for block in PYTHON if block.page == page and text in block.code]
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with all that blocks read."""
    (tmp_path / "photos" / "sea").mkdir(parents=True)
    (tmp_path / "photos" / "sea" / "1.jpg").write_bytes(b"\xff\xd8" * 50_000)
    (tmp_path / "report.txt").write_text("a report\n" * 1000)
    with zipfile.ZipFile(tmp_path / "released.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "report.txt", "report.txt")
    return tmp_path


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    need_obstore()
    with serving() as made:
        for name in ("photos/1.jpg", "photos/sea/2.jpg"):
            made.client().put_object(Bucket=BUCKET, Key=name, Body=name.encode() * 1000)
        archive = stream_zip([("report.txt", b"a report\n" * 1000), ("large", bytes(1 << 20))]).read()
        made.client().put_object(Bucket=BUCKET, Key="released.zip", Body=archive)
        yield made


def variables_of(bucket: Bucket) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": bucket.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEYS["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["secret_access_key"],
    }


def need_packages(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in [node.module or ""] if isinstance(node, ast.ImportFrom) else names:
            if name.partition(".")[0] not in sys.stdlib_module_names | {"zipstream_adapter"}:
                module(name)
    for text, name in NEEDS.items():
        if text in code:
            module(name)


def run(block: Block, place: Path, **variables: str) -> bytes:
    need_packages(block.code)
    (file := place / "block.py").write_text(block.code, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-W", "error", "-m", "tests.support.docs_block", str(file)]
    done = subprocess.run(command, cwd=place, capture_output=True, timeout=200, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def check_archives(place: Path) -> None:
    """All archives that a block has left are whole."""
    for path in place.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            if not any(info.flag_bits & 1 for info in archive.infolist()):
                assert archive.testzip() is None


@named([block for block in PYTHON if "S3Store" not in block.code and "s3://" not in block.code])
def test_each_block_runs_by_itself(block: Block, place: Path) -> None:
    said = run(block, place)
    check_archives(place)
    if said.startswith(b"PK"):
        assert members(said)


@named([block for block in PYTHON if "S3Store" in block.code or "s3://" in block.code])
def test_each_block_of_buckets_runs_by_itself(block: Block, place: Path, bucket: Bucket) -> None:
    run(block, place, **variables_of(bucket))
    check_archives(place)
    assert bucket.unfinished() == []


@named(COMMANDS)
def test_each_command_runs(block: Block, place: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["sh", "-ec", block.code], cwd=place, capture_output=True, timeout=200, env={"PATH": path}, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    check_archives(place)


_APP = """
from zipstream_adapter.web import asgi_app, wsgi_app

wsgi, asgi = (make(lambda request: [("a.txt", b"a")]) for make in (wsgi_app, asgi_app))
"""
_ANY_PORT = {"gunicorn": "--bind=127.0.0.1:0", "uvicorn": "--port=0", "hypercorn": "--bind=127.0.0.1:0"}
_ANY_PORT |= {"waitress-serve": "--listen=127.0.0.1:0"}


@named(SERVERS)
def test_each_server_starts_as_it_is_told_to(block: Block, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_APP)
    program, *arguments = shlex.split(block.code)
    module(program.removesuffix("-serve"))
    script = shutil.which(program, path=str(Path(sys.executable).parent)) or program
    environment = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    with serve([script, _ANY_PORT[program], *arguments], tmp_path, environment) as server:
        assert server.port


@named(NGINX)
def test_each_configuration_is_one(block: Block, tmp_path: Path) -> None:
    configuration = f"""
    error_log {tmp_path}/error.log; pid {tmp_path}/pid; events {{ }}
    http {{
      client_body_temp_path {tmp_path}/body; fastcgi_temp_path {tmp_path}/fastcgi; uwsgi_temp_path {tmp_path}/uwsgi;
      scgi_temp_path {tmp_path}/scgi; proxy_temp_path {tmp_path}/proxy;
      proxy_cache_path {tmp_path}/cache keys_zone=archives:1m;
      server {{ listen unix:{tmp_path}/socket; {block.code} }}
    }}"""
    (tmp_path / "nginx.conf").write_text(configuration)
    nginx = need("nginx", "/usr/sbin/nginx")
    done = subprocess.run(
        [nginx, "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], capture_output=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_readme_runs_in_order_in_an_empty_directory(tmp_path: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), "/usr/bin", "/bin"))
    blocks = [block for block in BLOCKS if block.page == "README" and block not in SETUPS]
    for block in blocks:
        if block.language == "python":
            need_packages(block.code)
        command = [sys.executable, "-W", "error", "-c"] if block.language == "python" else ["sh", "-ec"]
        done = subprocess.run(
            [*command, block.code], cwd=tmp_path, capture_output=True, timeout=200, env={"PATH": path}, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
    assert sorted(found.name for found in tmp_path.glob("*.zip")) == ["first.zip", "photos.zip"]
    check_archives(tmp_path)


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {block.language for block in BLOCKS} == {"python", "sh", "nginx", "text"}
    # Nothing to run: what needs a network or another host, a drawing, a list.
    assert sum(block.language == "text" for block in BLOCKS) <= 10
    assert [block.page for block in SETUPS] == ["README", "CONTRIBUTING"]
    assert len(PYTHON) >= 43


# What particular blocks come to.


def test_the_first_example_of_getting_started(place: Path) -> None:
    run(block_with("getting-started", "holiday.zip"), place)
    with zipfile.ZipFile(place / "holiday.zip") as archive:
        assert archive.namelist() == ["holiday/sea/1.jpg", "notes.txt", "table.csv", "report.txt"]
        assert archive.read("table.csv").startswith(b"0,0\n1,1\n2,4\n")


def test_code_that_wants_a_zipfile(place: Path) -> None:
    said = run(block_with("zipfile", "sys.stdout"), place)
    assert members(said)["numbers.txt"].split() == [b"%d" % number for number in range(1000)]


def test_csv_from_a_database(place: Path) -> None:
    run(block_with("entries", "orders.csv"), place)
    assert members((place / "export.zip").read_bytes()) == {"orders.csv": '1,"Grüße; ""quoted"""\r\n'.encode()}


def test_data_that_is_compressed_already(place: Path) -> None:
    run(block_with("entries", "released.infolist"), place)
    with zipfile.ZipFile(place / "bundle.zip") as archive:
        assert archive.namelist() == ["report.txt", "notes.txt"]
        assert archive.getinfo("report.txt").compress_type == zipfile.ZIP_DEFLATED


def test_checksums_that_are_remembered(place: Path) -> None:
    for _ in range(2):
        run(block_with("entries", "ChecksumCache"), place)
    assert (place / "checksums.sqlite").stat().st_size > 0


def test_encryption(place: Path) -> None:
    module("Crypto.Cipher.AES")
    run(block_with("entries", "correct horse"), place)
    verdict = seven_zip_with("correct horse battery staple", place / "private.zip")
    assert verdict, verdict.said
    assert not seven_zip_with("another", place / "private.zip")
    assert zipfile.ZipFile(place / "private.zip").read("READ ME.txt") == b"Ask Ann for the password."


def test_a_note_in_the_place_of_a_file(place: Path) -> None:
    run(block_with("options", "on_error"), place)
    found = members((place / "partial.zip").read_bytes())
    assert sorted(found) == ["gone.txt.MISSING.txt", "here.txt"]


def test_layouts(place: Path) -> None:
    said = run(block_with("layouts", "iter_range"), place).split()
    assert int(said[0]) == (place / "photos.zip").stat().st_size


def test_an_unsafe_name(place: Path) -> None:
    assert b"'../../etc/cron.d/job'" in run(block_with("security", "UnsafeNameError"), place)


def test_read_by_ranges(place: Path, bucket: Bucket) -> None:
    said = run(block_with("remote", "archive.namelist"), place, **variables_of(bucket)).decode().splitlines()
    assert said == ["['report.txt', 'large']", r"b'a report\n'"]


def test_into_a_bucket_and_out_of_one(place: Path, bucket: Bucket) -> None:
    run(block_with("remote", "upload_zip(store"), place, **variables_of(bucket))
    backup = zipfile.ZipFile(io.BytesIO(bucket.read("backup.zip")))
    assert backup.testzip() is None
    assert backup.namelist() == ["sea/1.jpg"]
    for archive in (zipfile.ZipFile(place / "photos.zip"), zipfile.ZipFile(io.BytesIO(bucket.read("all.zip")))):
        assert archive.namelist() == ["1.jpg", "sea/2.jpg"]
        assert archive.read("1.jpg") == b"photos/1.jpg" * 1000


def test_compressed_by_many_workers(place: Path, bucket: Bucket) -> None:
    run(block_with("remote", "compress_parts("), place, **variables_of(bucket))
    with zipfile.ZipFile(io.BytesIO(bucket.read("deflated.zip"))) as archive:
        assert archive.read("1.jpg") == b"photos/1.jpg" * 1000
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert not [key for key in bucket.objects() if key.startswith("zipstream-adapter/")]


# What the texts say.


def test_quick_start_is_two_lines_and_the_second_runs_the_tests() -> None:
    first = next(block for block in BLOCKS if block.page == "README" and block.language == "sh")
    lines = first.code.splitlines()
    assert len(lines) == 2
    assert "zipstream-adapter" in lines[0]
    assert lines[1].endswith("-m pytest --quiet --numprocesses auto")
    assert SETUPS[1].code.splitlines() == lines[1:]


def test_readme_is_a_screen_and_a_half_and_links_to_nothing_relative() -> None:
    assert len(README.split()) < 1000
    assert re.findall(r"\]\((?!https://)[^)]*\)", README) == []


def test_readme_names_every_page() -> None:
    pages = {path.name for path in PAGES.glob("*.md")} - {"index.md", "contributing.md", "changelog.md"}
    folders = {path.name for path in PAGES.iterdir() if path.is_dir()}
    assert pages | {f"{name}/" for name in folders} <= set(re.findall(r"`([\w-]+(?:\.md|/))`", README))


def table_rows(page: str, head: str) -> set[str]:
    table = (PAGES / page).read_text("utf-8").partition(f"| `{head}")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_tables_name_every_option() -> None:
    options = table_rows("options.md", "stream_zip(")
    assert options == set(inspect.signature(stream_zip).parameters) - {"entries"}
    assert options == set(inspect.signature(async_stream_zip).parameters) - {"entries"}
    of_entry = inspect.signature(Entry).parameters.values()
    named = {each.name for each in of_entry if each.kind != each.VAR_KEYWORD}
    assert table_rows("entries.md", "Entry(") == named - {"name", "source"}


def test_the_reference_has_every_public_name_and_no_other() -> None:
    shown = set()
    for path in (PAGES / "reference").glob("*.md"):
        shown |= set(re.findall(r"^::: zipstream_adapter\.(\w+)$", path.read_text("utf-8"), re.MULTILINE))
    errors = {name for name, room in zipstream_adapter._ROOMS.items() if room == "errors"}
    assert shown == set(zipstream_adapter.__all__) - errors | {"errors", "remote", "web"}


def test_the_reference_names_what_web_and_remote_export() -> None:
    for name in ("web", "remote"):
        if name == "web":
            module("werkzeug")
        text = (PAGES / "reference" / f"{name}.md").read_text("utf-8")
        exported = set(__import__(f"zipstream_adapter.{name}", fromlist=["*"]).__all__)
        assert set(re.findall(r"\w+", text.partition("members: [")[2].partition("]")[0])) == exported


def test_the_architecture_names_every_room() -> None:
    text = (PAGES / "architecture.md").read_text("utf-8")
    assert {room for row in ROWS for room in row} - {"__main__"} <= set(re.findall(r"`(\w+)`", text))
