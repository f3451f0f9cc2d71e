"""Encrypted members: read back by others, wrong passwords refused, sizes planned, keys made where they belong."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import cycle, pairwise, product
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pyzipper  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from tests.support.loops import module
from tests.support.oracles import bsdtar_with, seven_zip_with, unzip
from tests.support.strategies import noise, words
from tests.support.sweeps import WHOLE
from zipstream_adapter import (
    ChecksumCache,
    Entry,
    EntryError,
    EntryTypeError,
    LimitError,
    OptionError,
    PoisonedError,
    StreamingZipFile,
    ZipLayout,
    ZipStreamError,
    async_stream_zip,
    stream_zip,
)
from zipstream_adapter._compression import encryption
from zipstream_adapter._compression.block_deflate import BLOCK
from zipstream_adapter._compression.codec import StoredCodec
from zipstream_adapter._compression.codecs import Encrypted
from zipstream_adapter._compression.encryption import ENCRYPTION_STEP, OVERHEAD, Encryptor, Key, Keys, derive
from zipstream_adapter._concurrency.ordered import Workers
from zipstream_adapter._format.records import AES_EXTRA_ID, DESCRIPTOR_FLAG, ENCRYPTED_FLAG, LIMIT32
from zipstream_adapter._writer.planner import PlannedArchive

module("Crypto.Cipher.AES")

PASSWORD = "open sesame"
TEXT = words(1, 3 * BLOCK)
NOISE = noise(2, 2 * ENCRYPTION_STEP + 1)
FLAGS = struct.Struct("<6xH")


def read_all(archive: bytes, password: str | None = PASSWORD) -> dict[str, bytes]:
    """All members, by pyzipper; their codes, passwords and CRC-32s are checked by it."""
    with pyzipper.AESZipFile(io.BytesIO(archive)) as reader:
        reader.setpassword(password.encode() if password else None)
        return {info.filename: reader.read(info) for info in reader.infolist()}


def listed(archive: bytes) -> list[zipfile.ZipInfo]:
    return zipfile.ZipFile(io.BytesIO(archive)).infolist()


def flags_in_header(archive: bytes, info: zipfile.ZipInfo) -> int:
    flags: int = FLAGS.unpack_from(archive, info.header_offset)[0]
    return flags


def saved(path: Path, archive: bytes) -> Path:
    path.write_bytes(archive)
    return path


# Read back

METHODS: list[dict[str, Any]] = [
    {"compression": "stored"},
    {"compression": "deflate"},
    {"compression": "deflate", "level": 0},
    {"compression": "bzip2"},
    {"compression": "lzma"},
    {"compression": "auto"},
    *([{"compression": "zstd"}] if sys.version_info >= (3, 14) or find_spec("backports") else []),
]


@pytest.mark.parametrize(
    ("options", "lookahead"),
    list(product(METHODS, [0, 65536]) if WHOLE else zip(METHODS, cycle([0, 65536]), strict=False)),
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_others_read_it(tmp_path: Path, options: dict[str, Any], lookahead: int) -> None:
    (tmp_path / "file").write_bytes(TEXT)
    contents = {"text": TEXT, "noise": NOISE, "small": b"x", "empty": b"", "gläser/ñ": b"named"}
    items: list[Any] = [*contents.items(), ("file", tmp_path / "file"), ("given", iter([NOISE, b"", memoryview(TEXT)]))]
    archive = stream_zip(items, password=PASSWORD, lookahead=lookahead, **options).read()
    if options["compression"] != "zstd":  # which pyzipper does not know
        assert read_all(archive) == {**contents, "file": TEXT, "given": NOISE + TEXT}

    path = saved(tmp_path / "a.zip", archive)
    verdicts = [seven_zip_with(PASSWORD, path)]
    if options["compression"] not in ("bzip2", "lzma", "zstd"):  # which libarchive does not decrypt
        verdicts += bsdtar_with(PASSWORD, path), bsdtar_with(PASSWORD, archive)
    for verdict in verdicts:
        assert verdict, verdict.said
    for wrong in ("open sesam", "Open sesame", ""):
        assert not seven_zip_with(wrong, path)
    assert not bsdtar_with("wrong", path)
    assert not unzip(path)
    if options["compression"] != "zstd":
        with pytest.raises(RuntimeError, match="Bad password"):
            read_all(archive, "wrong")


def test_what_the_records_say() -> None:
    archive = stream_zip([("a", b"data"), ("b", iter([TEXT]))], compression="deflate", password=PASSWORD).read()
    for info in listed(archive):
        assert info.compress_type == 99
        assert info.extract_version == 51
        assert info.CRC == 0, "AE-2 stores none"
        assert info.flag_bits & ENCRYPTED_FLAG
        assert flags_in_header(archive, info) == info.flag_bits
        assert struct.pack("<3H2sBH", AES_EXTRA_ID, 7, 2, b"AE", 3, zipfile.ZIP_DEFLATED) in info.extra
        assert info.file_size in (4, len(TEXT))


def test_data_that_was_changed_is_noticed_by_others(tmp_path: Path) -> None:
    archive = bytearray(stream_zip([("a", NOISE)], password=PASSWORD).read())
    archive[len(NOISE) // 2] ^= 1
    assert not seven_zip_with(PASSWORD, saved(tmp_path / "a.zip", bytes(archive)))


def test_a_password_beyond_ascii(tmp_path: Path) -> None:
    archive = stream_zip([("a", TEXT)], password="schlüssel").read()
    assert read_all(archive, "schlüssel") == {"a": TEXT}
    assert seven_zip_with("schlüssel", saved(tmp_path / "a.zip", archive))
    assert read_all(stream_zip([("a", TEXT)], password="schlüssel".encode()).read(), "schlüssel") == {"a": TEXT}


# Which members


def test_directories_have_no_data_to_encrypt(tmp_path: Path) -> None:
    archive = stream_zip([("d/", None), ("d/a", b"x"), Entry("e/", tmp_path)], password=PASSWORD).read()
    assert [info.flag_bits for info in listed(archive)] == [0, ENCRYPTED_FLAG, 0]
    assert seven_zip_with(PASSWORD, saved(tmp_path / "a.zip", archive))


def test_an_entry_has_its_own_password_or_none(tmp_path: Path) -> None:
    entries: list[Any] = [
        Entry("open", b"for all", password=False),
        Entry("own", b"for one", password="other"),
        {"name": "mapped", "source": b"for one", "password": b"other"},
        ("rest", b"for some"),
    ]
    archive = stream_zip(entries, password=PASSWORD).read()
    assert [bool(info.flag_bits & ENCRYPTED_FLAG) for info in listed(archive)] == [False, True, True, True]
    with pyzipper.AESZipFile(io.BytesIO(archive)) as reader:
        assert reader.read("open") == b"for all"
        assert reader.read("own", pwd=b"other") == reader.read("mapped", pwd=b"other") == b"for one"
        assert reader.read("rest", pwd=PASSWORD.encode()) == b"for some"


def test_only_some_of_an_open_archive(tmp_path: Path) -> None:
    archive = stream_zip([("open", b"1"), Entry("shut", b"2", password=PASSWORD), ("open too", b"3")]).read()
    assert [info.flag_bits for info in listed(archive)] == [0, ENCRYPTED_FLAG, 0]
    assert read_all(archive) == {"open": b"1", "shut": b"2", "open too": b"3"}


def test_a_symbolic_link_is_encrypted_too(tmp_path: Path) -> None:
    archive = stream_zip([Entry.symlink("link", "target")], password=PASSWORD).read()
    assert b"target" not in archive
    assert read_all(archive) == {"link": b"target"}


def test_copies_and_raw_data_are_encrypted_as_they_are(tmp_path: Path) -> None:
    path = saved(tmp_path / "from.zip", stream_zip([("a", TEXT), ("b", NOISE)], compression="deflate").read())
    copies = [Entry.copy(path, name, password=PASSWORD) for name in "ab"]
    stream = stream_zip(copies, lookahead=0)
    size, archive = stream.size, stream.read()
    assert size == len(archive)
    assert read_all(archive) == {"a": TEXT, "b": NOISE}
    assert [info.flag_bits for info in listed(archive)] == [ENCRYPTED_FLAG] * 2, "all is known beforehand"
    assert seven_zip_with(PASSWORD, saved(tmp_path / "a.zip", archive))


def test_through_a_zipfile(tmp_path: Path) -> None:
    target = io.BytesIO()
    (tmp_path / "f").write_bytes(TEXT)
    with StreamingZipFile(target, compression="deflate", password=PASSWORD) as archive:
        archive.writestr("a", b"some")
        archive.write(tmp_path / "f", "f")
        archive.mkdir("d")
        with archive.open("m", "w") as member:
            member.write(NOISE)
        assert zipfile.crc32(b"some") == archive.getinfo("a").CRC  # type: ignore[attr-defined]
    assert read_all(target.getvalue()) == {"a": b"some", "f": TEXT, "d/": b"", "m": NOISE}
    assert {info.filename: info.flag_bits & ENCRYPTED_FLAG for info in listed(target.getvalue())}["d/"] == 0


# Sizes

sources = st.one_of(
    st.builds(noise, st.just(1), st.sampled_from([0, 1, 17, 65535, 65536, 65537, BLOCK + 1])),
    st.sampled_from([b"", b"x"]),
)


@given(
    st.lists(st.tuples(sources, st.sampled_from([None, "own", False])), max_size=4),
    st.sampled_from([0, 1, 46, 65536]),
    st.sampled_from([None, 0]),
    st.booleans(),
)
def test_the_size_is_known_beforehand(members: list[Any], lookahead: int, level: int | None, late: bool) -> None:
    entries = [
        Entry(f"{i}", (lambda data=data: [data]) if late else data, size=len(data), password=password)
        for i, (data, password) in enumerate(members)
    ]
    method = "stored" if level is None else "deflate"
    options: dict[str, Any] = {"compression": method, "level": level, "lookahead": lookahead, "password": PASSWORD}
    stream = stream_zip([*entries, ("d/", None)], **options)
    size = stream.size
    assert size == len(stream.read())


@pytest.mark.parametrize("how", ["bytes", "file", "declared"])
def test_stored_data_of_a_known_size_has_a_complete_header(tmp_path: Path, how: str) -> None:
    (tmp_path / "f").write_bytes(NOISE)
    source: Any = {"bytes": NOISE, "file": tmp_path / "f", "declared": lambda: iter([NOISE])}[how]
    stream = stream_zip([Entry("a", source, size=len(NOISE))], password=PASSWORD, lookahead=0)
    size, archive = stream.size, stream.read()
    (info,) = listed(archive)
    assert not info.flag_bits & DESCRIPTOR_FLAG
    assert info.compress_size == len(NOISE) + OVERHEAD
    assert size == len(archive)
    assert read_all(archive) == {"a": NOISE}


def test_what_was_found_to_be_stored_better_has_one_too() -> None:
    data = noise(3, BLOCK + 1)
    archives = [
        stream_zip(
            [Entry("a", data, modified=1_700_000_000)], compression=method, password=PASSWORD, lookahead=1000
        ).read()
        for method in ("auto", "stored")
    ]
    first, second = (listed(archive)[0] for archive in archives)
    assert first.flag_bits == second.flag_bits == ENCRYPTED_FLAG
    assert (first.extra, first.compress_size) == (second.extra, second.compress_size)
    assert read_all(archives[0]) == {"a": data}


def test_what_is_remembered_of_files_says_nothing_of_encrypted_ones(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(NOISE)
    os.utime(tmp_path / "f", (1_700_000_000, 1_700_000_000))
    with ChecksumCache(tmp_path / "cache") as cache:
        for _ in range(2):
            stream = stream_zip([tmp_path / "f"], password=PASSWORD, checksums=cache)
            size, archive = stream.size, stream.read()
            assert size == len(archive)
            assert read_all(archive) == {"f": NOISE}
        assert stream_zip([tmp_path / "f"], checksums=cache).size is None, "it was not remembered"


@pytest.mark.parametrize(("size", "wide"), [(LIMIT32 - OVERHEAD - 1, False), (LIMIT32 - OVERHEAD, True)])
def test_zip64_where_the_overhead_needs_it(size: int, wide: bool) -> None:
    archive = PlannedArchive()
    begin: dict[str, Any] = {"size": size, "crc32": None, "password": PASSWORD.encode()}
    member = archive.begin(zipfile.ZipInfo("a"), **begin)
    member.skip(size, size + OVERHEAD)
    member.finish()
    assert archive.was_zip64 is wide
    refusing = stream_zip([Entry("a", lambda: [b""], size=size, zip64=False, password=PASSWORD)])
    if wide:
        with pytest.raises(LimitError, match=f"size in bytes of {LIMIT32}: that needs zip64"):
            refusing.read()
    archive.abort()


@pytest.mark.large
def test_more_than_4_gib(tmp_path: Path) -> None:
    piece, count = bytes(1 << 20), (1 << 12) + 1
    with open(tmp_path / "a.zip", "wb") as file:
        for chunk in stream_zip([("zeros", (piece for _ in range(count)))], password=PASSWORD):
            file.write(chunk)
    verdict = seven_zip_with(PASSWORD, tmp_path / "a.zip")
    assert verdict, verdict.said


# Keys


def test_no_salt_comes_twice() -> None:
    archive = stream_zip([(f"{i}", b"the same") for i in range(50)], password=PASSWORD).read()
    starts = [info.header_offset + 30 + len(info.filename) + len(info.extra) for info in listed(archive)]
    assert len({archive[at : at + 16] for at in starts}) == 50
    assert len({archive[at + 18 : at + 26] for at in starts}) == 50


@given(st.lists(st.integers(0, 3 * ENCRYPTION_STEP), max_size=6))
@pytest.mark.patient
def test_how_the_data_is_cut_does_not_show(cuts: list[int]) -> None:
    def encrypted(places: list[int]) -> bytes:
        coded = Encrypted(StoredCodec(), Encryptor(lambda: derive(b"p", bytes(16))))
        pieces = [coded.compress(NOISE[a:b]) for a, b in pairwise(places)]
        return b"".join([*pieces, coded.flush()])

    assert encrypted([0, *sorted(cuts), len(NOISE)]) == encrypted([0, len(NOISE)])


def test_keys_are_made_ahead_by_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[threading.Thread] = []

    def noted(password: bytes, salt: bytes) -> Key:
        made.append(threading.current_thread())
        return derive(password, salt)

    monkeypatch.setattr(encryption, "derive", noted)
    stream_zip([("a", b"1")], password=PASSWORD, workers=2).read()
    assert made == [threading.main_thread()], "one member needs one key"
    made.clear()
    stream_zip([(f"{i}", b"1") for i in range(20)], password=PASSWORD, workers=2).read()
    assert threading.main_thread() in made
    assert any(thread is not threading.main_thread() for thread in made)
    assert len(made) <= 20 + 3
    made.clear()
    stream_zip([(f"{i}", b"1") for i in range(20)], password=PASSWORD, workers=0).read()
    assert made == [threading.main_thread()] * 20


def test_another_password_takes_no_key_that_was_made_ahead() -> None:
    passwords = [PASSWORD] * 6 + ["other"] * 3 + [PASSWORD, "other", "other", PASSWORD, PASSWORD]
    entries = [Entry(f"{i}", b"%d" % i, password=password) for i, password in enumerate(passwords)]
    with pyzipper.AESZipFile(io.BytesIO(stream_zip(entries, workers=2).read())) as reader:
        for i, password in enumerate(passwords):
            assert reader.read(f"{i}", pwd=password.encode()) == b"%d" % i


@pytest.mark.parametrize("ends", ["at its end", "early"])
def test_no_key_is_being_made_when_it_is_over(ends: str) -> None:
    class Noting(ThreadPoolExecutor):
        futures: ClassVar[list[Any]] = []

        def submit(self, *args: Any, **options: Any) -> Any:
            future = super().submit(*args, **options)
            self.futures.append(future)
            return future

    with Noting(1) as executor:
        stream = stream_zip([(f"{i}", NOISE) for i in range(9)], password=PASSWORD, workers=8, executor=executor)
        with stream:
            for _ in stream if ends == "at its end" else range(5):
                next(stream, b"")
        assert Noting.futures
        assert all(future.done() for future in Noting.futures)
        Noting.futures.clear()


def test_salt_of_somebody_elses_is_asked_once_for_each_member() -> None:
    asked: list[int] = []

    def salt(size: int) -> bytes:
        asked.append(size)
        return bytes([len(asked)]) * size

    keys = Keys(Workers(2), salt)
    assert [keys.next(b"p").salt[0] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert asked == [16] * 5


async def test_no_key_is_made_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[threading.Thread] = []

    def noted(password: bytes, salt: bytes) -> Key:
        made.append(threading.current_thread())
        return derive(password, salt)

    async def data() -> Any:
        for at in range(0, len(NOISE), 50_000):
            await asyncio.sleep(0)
            yield NOISE[at : at + 50_000]

    monkeypatch.setattr(encryption, "derive", noted)
    items: list[Any] = [("a", b"1"), ("b", data()), Entry("c", b"2", password="other"), ("empty", b"")]
    archive = b"".join([chunk async for chunk in async_stream_zip(items, password=PASSWORD, workers=0)])
    assert len(made) == 4
    assert threading.current_thread() not in made
    with pyzipper.AESZipFile(io.BytesIO(archive)) as reader:
        assert reader.read("b", pwd=PASSWORD.encode()) == NOISE


# Failures


def test_a_failure_ends_it_without_a_code() -> None:
    def failing() -> Iterator[bytes]:
        yield NOISE
        raise OSError("gone")

    got: list[bytes] = []
    stream = stream_zip([("a", failing())], password=PASSWORD)
    with pytest.raises(OSError, match="gone"):
        got.extend(stream)
    with pytest.raises(PoisonedError):
        stream.read()
    cut = b"".join(got)
    assert b"PK\7\x08" not in cut[-64:]
    assert b"PK\1\2" not in cut


def test_an_entry_that_failed_before_it_left_can_be_left_out() -> None:
    def failing() -> Iterator[bytes]:
        yield b"little"
        raise OSError("gone")

    options: dict[str, Any] = {"password": PASSWORD, "on_error": lambda entry, exc: None}
    stream = stream_zip([("a", failing()), ("b", b"stays")], **options)
    assert read_all(stream.read()) == {"b": b"stays"}
    assert [skipped.entry.name for skipped in stream.skipped] == ["a"]


@pytest.mark.parametrize(
    ("password", "error", "said"),
    [
        ("", OptionError, "an empty one protects nothing"),
        (b"", OptionError, "an empty one protects nothing"),
        ("secret\udc80", OptionError, "characters that UTF-8 cannot encode"),
        (12345, EntryTypeError, "give a str or bytes, not int"),
        (True, EntryTypeError, "not bool"),
    ],
)
def test_what_is_no_password(password: Any, error: type[ZipStreamError], said: str) -> None:
    for refused in (
        lambda: stream_zip([], password=password),
        lambda: async_stream_zip([], password=password),
        lambda: StreamingZipFile(password=password),
        lambda: Entry("a", b"", password=password),
    ):
        with pytest.raises(error, match=said) as caught:
            refused()
        assert "secret" not in str(caught.value)
        assert "12345" not in str(caught.value)


def test_false_is_for_entries() -> None:
    with pytest.raises(EntryTypeError, match="not bool"):
        stream_zip([], password=False)  # type: ignore[arg-type]


def test_no_password_shows() -> None:
    entry = Entry("a", b"", password="secret")
    assert repr(entry) == "Entry('a', b'', password=…)"
    assert repr(Entry("a", b"", password=False)) == "Entry('a', b'', password=False)"
    for wrong in ({"name": "a", "source": b"", "bad": 1}, {"source": b""}):
        with pytest.raises(EntryTypeError) as caught:
            stream_zip([{**wrong, "password": "secret"}]).read()
        assert "secret" not in str(caught.value)
    for misspelt in ("passwd", "pwd", "passphrase"):
        with pytest.raises(EntryTypeError, match=f"unknown key {misspelt!r}") as caught:
            stream_zip([{"name": "a", "source": b"", misspelt: "secret"}]).read()
        assert "secret" not in str(caught.value)
    stream = stream_zip([{"name": "a", "password": "secret"}, ("b", b"")], on_error=lambda entry, exc: None)
    stream.read()
    assert "secret" not in repr(stream.skipped)
    assert stream.skipped[0].entry == {"name": "a", "password": "secret"}
    raw = Entry.raw("a", b"", compression="stored", size=0, crc32=0, password="secret")
    assert "secret" not in repr(raw)
    for each in (entry, raw):
        assert pickle.loads(pickle.dumps(each)) == each
        assert each.replace(name="b").password == b"secret"


def test_a_layout_refuses() -> None:
    with pytest.raises(EntryError, match="entry 'a': a layout cannot encrypt, because each range reads the data again"):
        ZipLayout([Entry("a", b"", password=PASSWORD)])
    assert ZipLayout([Entry("a", b"", password=False)]).size


def test_an_extra_of_its_own_has_to_fit() -> None:
    with pytest.raises(EntryError, match="carries an encryption field"):
        Entry("a", b"", extra=struct.pack("<2H", AES_EXTRA_ID, 0))
    long = struct.pack("<2H", 0xCAFE, 65494) + bytes(65494)
    for password in (None, PASSWORD):
        stream = stream_zip([Entry("a", b"x", extra=long)], password=password)
        if password is None:
            assert zipfile.ZipFile(io.BytesIO(stream.read())).testzip() is None
        else:
            with pytest.raises(LimitError, match="its extra has 65507 bytes, and 65496 is the most"):
                stream.read()


# The command line


def command(cwd: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "zipstream_adapter", *arguments]
    return subprocess.run(line, cwd=cwd, input=stdin, capture_output=True, check=False)


def test_the_command_line_takes_it_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(TEXT)
    (tmp_path / "password").write_bytes(PASSWORD.encode() + b"\r\nand more\n")
    for place, stdin in (("password", b""), ("-", PASSWORD.encode())):
        done = command(tmp_path, "f", "--password-file", place, "-o", "out.zip", stdin=stdin)
        assert (done.returncode, done.stderr) == (0, b"")
        assert read_all((tmp_path / "out.zip").read_bytes()) == {"f": TEXT}


@pytest.mark.parametrize("first", [b"", b"\n", b"\r\nsecond"])
def test_the_command_line_refuses_none(tmp_path: Path, first: bytes) -> None:
    (tmp_path / "f").write_bytes(TEXT)
    (tmp_path / "password").write_bytes(first)
    done = command(tmp_path, "f", "--password-file", "password", "-o", "out.zip")
    assert done.returncode == 1
    assert b"the first line of 'password' is empty" in done.stderr
    assert not (tmp_path / "out.zip").exists()


WITHOUT = """
import sys
sys.modules["Crypto"] = None
from zipstream_adapter import Entry, StreamingZipFile, stream_zip
assert stream_zip([("a", b"")]).read() and Entry("a", b"", password=False)
for refused in (
    lambda: stream_zip([], password="p"),
    lambda: StreamingZipFile(password="p"),
    lambda: Entry("a", b"", password="p"),
):
    try:
        refused()
    except ImportError as exc:
        assert "zipstream-adapter[crypto]" in str(exc), exc
    else:
        raise SystemExit("not refused")
"""


def test_without_the_extra() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT], check=True)
