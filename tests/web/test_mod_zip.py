"""mod_zip_manifest, read by the grammar that mod_zip documents: CRC-32 or dash, size, URL, name; one file a line."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.layouts import CHANGED, CHANGED_FIELD
from zipstream_adapter import (
    DuplicateNameError,
    Entry,
    EntryError,
    EntryTypeError,
    OptionError,
    UnsafeNameError,
    ZipStreamError,
    walk,
)
from zipstream_adapter.web import mod_zip_manifest

# The module's own grammar: the first character of a name is no space, the URL has none, and a "?" begins its query.
LINE = re.compile(rb"([0-9a-fA-F]+|-) +([0-9]+) +([^? ]+)(?:\?([^ ]+))? +([^ ][^\r\n\0]*)")


class File(NamedTuple):
    crc32: int | None
    size: int
    path: bytes
    query: bytes | None
    name: str


def files(body: bytes) -> list[File]:
    """The list as the module reads it; of a path it takes escapes for bytes, and plus signs for spaces."""
    found = []
    for line in re.split(rb"[\r\n]+", body.rstrip(b"\r\n")):
        match = LINE.fullmatch(line)
        assert match, line
        crc32, size, path, query, name = match.groups()
        assert not re.search(rb"%[^%]?[a-f]", path)  # which versions before 1.2 read wrongly
        path = unquote_to_bytes(path.replace(b"+", b" "))
        found.append(File(None if crc32 == b"-" else int(crc32, 16), int(size), path, query, name.decode()))
    return found


def internal(entry: Entry) -> str:
    return "/internal/" + quote(entry.name)


def test_the_documented_lines() -> None:
    manifest = mod_zip_manifest(
        [("My Document1.txt", "/foo.txt", 428, 0x1034AB38), ("My Other Document1.txt", "/bar.txt", 100339)]
    )
    assert manifest.body == b"1034ab38 428 /foo.txt My Document1.txt\r\n- 100339 /bar.txt My Other Document1.txt\r\n"
    assert manifest.headers == {
        "X-Archive-Files": "zip",
        "Content-Type": "application/zip",
        "Content-Disposition": 'attachment; filename="download.zip"',
        "Cache-Control": "no-transform",
        "Content-Encoding": "identity",
    }


def test_head_is_not_for_the_module() -> None:
    """It would answer nothing at all. What is wrong with the list is told even so."""
    entries = [("a.txt", "/a.txt", 428)]
    shown = mod_zip_manifest(entries, filename="a.zip", etag="x", method="GET")
    manifest = mod_zip_manifest(entries, filename="a.zip", etag="x", method="HEAD")
    assert manifest.body == b""
    assert shown.headers == {"X-Archive-Files": "zip", **manifest.headers}
    with pytest.raises(EntryError):
        mod_zip_manifest([("a.txt", "http://example.org/", 428)], method="HEAD")


def test_a_tree(tmp_path: Path) -> None:
    (tmp_path / "sub" / "nothing").mkdir(parents=True)
    (tmp_path / "sub" / "Grüße + 100% ?.txt").write_bytes(b"12345")
    (tmp_path / "a.txt").write_bytes(b"")
    manifest = mod_zip_manifest(walk(tmp_path, prefix="files"), location=internal)
    assert sorted(files(manifest.body), key=lambda file: file.name) == [
        File(None, 0, b"/internal/files/a.txt", None, "files/a.txt"),
        File(None, 5, "/internal/files/sub/Grüße + 100% ?.txt".encode(), None, "files/sub/Grüße + 100% ?.txt"),
        File(0, 0, b"@directory", None, "files/sub/nothing/"),
    ]


def test_entries_that_say_all(tmp_path: Path) -> None:
    entries = [Entry("a.bin", size=2**40, crc32=0xAB), Entry.directory("d")]
    manifest = mod_zip_manifest(entries, location=internal, filename="世.zip", etag="abc", last_modified=CHANGED)
    assert manifest.body == b"000000ab 1099511627776 /internal/a.bin a.bin\r\n00000000 0 @directory d/\r\n"
    assert manifest.headers["ETag"] == '"abc"'
    assert manifest.headers["Last-Modified"] == CHANGED_FIELD
    assert manifest.headers["Content-Disposition"].endswith("filename*=UTF-8''%E4%B8%96.zip")
    assert "Accept-Ranges" not in manifest.headers and "Content-Length" not in manifest.headers


def test_urls_are_what_old_versions_read_too() -> None:
    (file,) = files(mod_zip_manifest([("a", "/a+b/%c3%a9%2B?sig=a+b%2f", 1)]).body)
    assert (file.path, file.query) == ("/a+b/é+".encode(), b"sig=a+b%2f")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "foo",
        "http://x/",
        "/a b",
        "/a\r\n- 1 /b b",
        "/ä",
        "/a#b",
        "/100%",
        "/%zz",
        "/a?",
        "@directory",
        "/a\0",
        "?x",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(EntryError, match=r"entry 'a\.txt': the url .* is not a percent-encoded path"):
        mod_zip_manifest([("a.txt", url, 1)])


@pytest.mark.parametrize(
    "name", ["a\nb", "a\rb", "a\tb", "a\x7fb", " a", "../a", "/a", "a\\b", "", "a\0b", "C:/a", "a//b", "\udc80"]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UnsafeNameError):
        mod_zip_manifest([(name, "/a", 1)])


def test_names_that_are_taken_are_refused() -> None:
    with pytest.raises(DuplicateNameError):
        mod_zip_manifest([("a", "/a", 1), ("a", "/b", 1)])


def test_names_by_another_policy() -> None:
    entries = [("/a", "/x", 1), ("../a", "/y", 2), ("a", "/z", 3), ("d/", "", 0), ("d/", "", 0)]
    kept = mod_zip_manifest(entries, names="allow", duplicates="allow")
    assert [file.name for file in files(kept.body)] == ["/a", "../a", "a", "d/", "d/"]
    repaired = mod_zip_manifest(entries, names="repair", duplicates="rename")
    assert [file.name for file in files(repaired.body)] == ["a", "a (2)", "a (3)", "d/"]
    with pytest.raises(UnsafeNameError):
        mod_zip_manifest([("a\nb", "/a", 1)], names="allow")


@pytest.mark.parametrize(
    ("entries", "error", "why"),
    [
        ([], OptionError, "there are none"),
        ([Entry("a", size=1)], OptionError, "give location="),
        ([("a", "/a", None)], EntryError, "declare size="),
        ([("a", "/a", -1)], OptionError, "size=-1"),
        ([("a", "/a", "1")], EntryTypeError, "size='1'"),
        ([("a", "/a", 1, 2**32)], OptionError, "crc32="),
        ([("a", b"/a", 1)], EntryTypeError, "entry 'a': url=b'/a'"),
        ([("a", None, 1)], EntryTypeError, "entry 'a': url=None"),
        ([("a", "/a")], EntryTypeError, "is not an entry: give (name, url, size)"),
        (["a"], EntryTypeError, "is not an entry: give (name, url, size)"),
    ],
)
def test_what_else_is_refused(entries: list[Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=re.escape(why)):
        mod_zip_manifest(entries)


def test_a_size_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    for source in (b"data", tmp_path, None):
        with pytest.raises(EntryError, match="'a': mod_zip needs the size in bytes"):
            mod_zip_manifest([Entry("a", source)], location=internal)
    with pytest.raises(FileNotFoundError):
        mod_zip_manifest([Entry("a", tmp_path / "gone")], location=internal)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(string.printable, max_size=20)
rows = st.tuples(texts, texts, st.integers(0, 2**64 - 1), st.none() | st.integers(0, 2**32 - 1))


@given(st.lists(rows, min_size=1, max_size=5))
def test_any_list_is_read_as_it_was_meant_or_refused(listed: list[tuple[str, str, int, int | None]]) -> None:
    entries = [(name, "/" + quote(path), size, crc32) for name, path, size, crc32 in listed if not name.endswith("/")]
    try:
        manifest = mod_zip_manifest(entries)
    except ZipStreamError:
        return
    expected = [File(crc32, size, b"/" + path.encode(), None, name) for name, path, size, crc32 in listed]
    assert files(manifest.body) == [file for file in expected if not file.name.endswith("/")]
