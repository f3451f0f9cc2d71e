"""compat.django_zip_stream: what is answered to nginx's mod_zip."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import module, run
from tests.web.test_mod_zip import File, files
from zipstream_adapter import EntryError, EntryTypeError, OptionError, UnsafeLinkError, UnsafeNameError

pytest.importorskip("werkzeug", reason="the extra web is not installed")
settings = pytest.importorskip("django.conf", reason="Django is not installed").settings
if not settings.configured:
    settings.configure()

from zipstream_adapter.compat.django_zip_stream import FolderZipResponse, HeadMiddleware, TransferZipResponse  # noqa: E402


def test_a_program_as_it_is_documented() -> None:
    response = TransferZipResponse(
        filename="download.zip",
        files=[("/chicago.jpg", "/home/travis/chicago.jpg", 4096), ("portland.jpg", "/travis/portland.jpg", 5, 0xAB)],
    )
    assert isinstance(response, module("django.http").HttpResponse)
    assert response.status_code == 200
    assert response["X-Archive-Files"] == "zip"
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"] == 'attachment; filename="download.zip"'
    assert response.content == (
        b"- 4096 /home/travis/chicago.jpg /chicago.jpg\r\n000000ab 5 /travis/portland.jpg portland.jpg\r\n"
    )


@pytest.mark.parametrize(
    ("item", "crc32"),
    [
        (("a", "/a", 7), None),
        (["a", "/a", "7"], None),
        (("a", "/a", 7, None), None),
        (("a", "/a", 7, "-"), None),
        (("a", "/a", 7, 0xABC), 0xABC),
        (("a", "/a", 7, "00000abc"), 0xABC),
        (("a", "/a", "7", "ABC"), 0xABC),
        (("00000abc", "a", "/a", 7), 0xABC),
        (("-", "a", "/a", 7), None),
    ],
)
def test_the_tuples(item: Any, crc32: int | None) -> None:
    assert files(TransferZipResponse("a.zip", [item]).content) == [File(crc32, 7, b"/a", None, "a")]


def test_urls_are_encoded_where_they_are_not() -> None:
    (file,) = files(TransferZipResponse("a.zip", [("a", "/Grüße an alle%20!?x=1", 1)]).content)
    assert (file.path, file.query) == ("/Grüße an alle !".encode(), b"x=1")


def test_names_of_downloads() -> None:
    assert TransferZipResponse(__file__, [("a", "/a", 1)])["Content-Disposition"].endswith(
        'filename="test_django_zip_stream.py"'
    )
    evil = TransferZipResponse('a".zip', [("a", "/a", 1)])["Content-Disposition"]
    assert evil == "attachment; filename=\"a_.zip\"; filename*=UTF-8''a%22.zip"
    with pytest.raises(OptionError, match="filename="):
        TransferZipResponse("a\r\nX: y", [("a", "/a", 1)])


def test_names_are_sent_as_they_are() -> None:
    found = TransferZipResponse("a.zip", [(name, "/a", 1) for name in ("../a", "Grüße", "b", "b")])
    assert [file.name for file in files(found.content)] == ["../a", "Grüße", "b", "b"]


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        ([], OptionError),
        ([("a\r\n- 1 /etc/passwd b", "/a", 1)], UnsafeNameError),
        ([("a", "http://example.org/a", 1)], EntryError),
        ([("a", "/a", "many")], EntryTypeError),
        ([("a", "/a", 1, "xyz")], EntryTypeError),
        ([("a", "/a")], EntryTypeError),
        (["a"], EntryTypeError),
    ],
)
def test_what_is_refused(listed: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        TransferZipResponse("a.zip", listed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "My Files"
    (made / "sub" / "nothing").mkdir(parents=True)
    (made / "sub" / "100% ü.txt").write_bytes(b"12345")
    (made / "a.txt").write_bytes(b"")
    return made


def test_a_folder(folder: Path) -> None:
    response = FolderZipResponse(folder, url_prefix="/internal")
    assert response["X-Archive-Files"] == "zip"
    assert response["Content-Disposition"] == 'attachment; filename="My Files.zip"'
    assert files(response.content) == [
        File(None, 0, b"/internal/My Files/a.txt", None, "a.txt"),
        File(None, 5, "/internal/My Files/sub/100% ü.txt".encode(), None, "sub/100% ü.txt"),
    ]
    bare = FolderZipResponse(str(folder), "", "b.zip", False)
    assert bare["Content-Disposition"] == 'attachment; filename="b.zip"'
    assert [file.path for file in files(bare.content)] == [b"/a.txt", "/sub/100% ü.txt".encode()]
    assert next(file.path for file in files(FolderZipResponse(folder).content)) == b"/My Files/a.txt"


def test_a_folder_by_another_spelling(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert files(FolderZipResponse(".", "/x/").content) == files(FolderZipResponse(folder, "/x").content)


def test_what_else_is_in_a_folder(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))
        (folder / "link").symlink_to("a.txt")
        assert [file.name for file in files(FolderZipResponse(folder).content)] == ["a.txt", "link", "sub/100% ü.txt"]
    (tmp_path / "secret").write_bytes(b"")
    (folder / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeLinkError):
        FolderZipResponse(folder)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there are none"):
        FolderZipResponse(tmp_path)
    with pytest.raises(FileNotFoundError):
        FolderZipResponse(tmp_path / "gone")


@pytest.mark.parametrize(("missing", "named"), [("django", "Django"), ("werkzeug", "'web'")])
def test_what_is_missing_is_named(missing: str, named: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "try: import zipstream_adapter.compat.django_zip_stream\n"
        "except ImportError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    assert named in done.stdout


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_mod_zip_sees_no_head(method: str, asynchronous: bool) -> None:
    """It would answer nothing. Answers that do not call it stay as they are."""
    http = module("django.http")

    def transfer(request: Any) -> Any:
        response = TransferZipResponse("a.zip", [("a", "/a", 7)])
        response.set_cookie("seen", "1")
        return response

    async def transfer_async(request: Any) -> Any:
        return transfer(request)

    request = http.HttpRequest()
    request.method = method
    answered = HeadMiddleware(transfer_async if asynchronous else transfer)(request)
    response = run(answered) if asynchronous else answered
    shown = transfer(request)
    assert response.status_code == 200
    assert response.cookies.output() == shown.cookies.output()
    fields = dict(response.items())
    if method == "HEAD":
        assert (b"".join(response), response.streaming) == (b"", True)
        assert {"X-Archive-Files": "zip", **fields} == dict(shown.items())
        common = module("django.middleware.common").CommonMiddleware(lambda request: response)
        assert "Content-Length" not in common.process_response(request, response)
    else:
        assert (response.content, fields) == (shown.content, dict(shown.items()))
    other = http.HttpResponse(b"text")
    assert HeadMiddleware(lambda request: other)(request) is other


def test_the_list_is_not_compressed() -> None:
    """Django's GZipMiddleware would, for the client's sake, whom it is not for."""
    http = module("django.http")
    request = http.HttpRequest()
    request.method, request.META = "GET", {"HTTP_ACCEPT_ENCODING": "gzip"}
    response = TransferZipResponse("a.zip", [(f"{number}.txt", "/a", 7) for number in range(100)])
    zipped = module("django.middleware.gzip").GZipMiddleware(lambda request: response)(request)
    assert len(files(zipped.content)) == 100
