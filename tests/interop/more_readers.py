"""More programs that read zip archives, for the archives that every reader has to take.

They are as those of `tests.interop.readers`. A directory may be missing from what they find.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from zlib import crc32

from tests.interop.readers import Found, Member, Reader, Refused, _file, _lines, _tree, member, run
from tests.support import oracles

_JARS = Path("/usr/share/java")

_PHP = """
$zip = new ZipArchive;
$zip->open($argv[1]) === true or exit(1);
for ($at = 0; $at < $zip->numFiles; $at++) {
    $data = $zip->getFromIndex($at);
    $data === false and exit(2);
    printf("%d %s %s\n", strlen($data), hash('crc32b', $data), $zip->getNameIndex($at));
}
"""

_ARCHIVE_ZIP = """
use Archive::Zip qw(:ERROR_CODES);
use Compress::Zlib;
my $zip = Archive::Zip->new();
$zip->read($ARGV[0]) == AZ_OK or die;
for my $member ($zip->members) {
    my ($data, $status) = $member->isDirectory ? ("", AZ_OK) : $member->contents;
    $status == AZ_OK or die $member->fileName;
    my $name = $member->fileName;
    utf8::encode($name) if utf8::is_utf8($name);
    printf "%d %x %s\n", length $data, crc32($data), $name;
}
"""

_IO_UNZIP = """
use Compress::Zlib;
use IO::Uncompress::Unzip qw($UnzipError);
binmode STDOUT;
my $zip = IO::Uncompress::Unzip->new(\\*STDIN) or die $UnzipError;
my $more = 1;
for (; $more > 0; $more = $zip->nextStream) {
    my ($data, $piece, $count) = ("");
    while (($count = $zip->read($piece)) > 0) { $data .= $piece }
    $count < 0 and die $UnzipError;
    my $name = $zip->getHeaderInfo->{Name};
    utf8::encode($name) if utf8::is_utf8($name);
    printf "%d %x %s\n", length $data, crc32($data), $name;
}
$more < 0 and die $UnzipError;
"""

_ZIPIMPORT = """
import sys
from zipfile import ZipFile
from zipimport import zipimporter
from zlib import crc32

archive = zipimporter(sys.argv[1])
for name in ZipFile(sys.argv[1]).namelist():
    data = archive.get_data(name) if not name.endswith("/") else b""
    sys.stdout.buffer.write(b"%d %x %b\\n" % (len(data), crc32(data), name.encode()))
"""

_SQLITE = "SELECT length(data) || '|' || hex(data) || '|' || name FROM zipfile('archive.zip') WHERE data IS NOT NULL"


def php(archive: bytes, place: Path) -> Found:
    """ZipArchive, that is libzip."""
    program = oracles.need("php")
    _need([program, "-r", "exit(class_exists('ZipArchive') ? 0 : 1);"], "PHP's extension zip")
    return _lines(*run([program, "-d", "display_errors=stderr", "-r", _PHP, "--", _file(archive, place)]))


def archive_zip(archive: bytes, place: Path) -> Found:
    return _lines(*run([*_perl("Archive::Zip"), _ARCHIVE_ZIP, _file(archive, place)]))


def io_unzip(archive: bytes, place: Path) -> Found:
    return _lines(*run([*_perl("IO::Uncompress::Unzip"), _IO_UNZIP], archive))


def _perl(module: str) -> list[str]:
    program = oracles.need("perl")
    _need([program, f"-M{module}", "-e", "1"], f"Perl's module {module}")
    return [program, "-we"]


def zipimport(archive: bytes, place: Path) -> Found:
    return _lines(*run([sys.executable, "-c", _ZIPIMPORT, _file(archive, place)]))


def sqlite(archive: bytes, place: Path) -> Found:
    _file(archive, place)
    out, err = run([oracles.need("sqlite3"), "-batch", ":memory:", _SQLITE], place=place)
    if err:
        raise Refused(err)
    found = {}
    for line in out.splitlines():
        size, data, name = line.split("|", 2)
        found[name] = member(bytes.fromhex(data))
        assert found[name].size == int(size)
    return found


def busybox(archive: bytes, place: Path) -> Found:
    return _extracted([oracles.need("busybox"), "unzip", "-q", "../archive.zip"], archive, place)


def minizip(archive: bytes, place: Path) -> Found:
    return _extracted([oracles.need("miniunzip"), "-x", "../archive.zip"], archive, place)


def jar_pipe(archive: bytes, place: Path) -> Found:
    return _extracted([oracles.need("jar"), "x"], archive, place, in_pipe=True)


def _extracted(command: list[str], archive: bytes, place: Path, *, in_pipe: bool = False) -> Found:
    out = place / "out"
    out.mkdir()
    _file(archive, place)
    _, err = run(command, archive if in_pipe else b"", out)
    if err:
        raise Refused(err)
    return _tree(out)


def jars_file(library: str, archive: bytes, place: Path) -> Found:
    return _lines(*run([*_java_command(), library, _file(archive, place)]))


def jars_pipe(library: str, archive: bytes, place: Path) -> Found:
    return _lines(*run([*_java_command(), library], archive))


def _java_command() -> list[str]:
    return [*oracles.java_command(), "-cp", _java_classes(), "ReadZipJars"]


@cache
def _java_classes() -> str:
    for name in ("commons-compress", "zip4j"):
        if not (_JARS / f"{name}.jar").exists():
            oracles.miss(f"{name}.jar is not installed")
    target = tempfile.mkdtemp(prefix="zipstream-java-")
    path = ":".join([target, *map(str, sorted(_JARS.glob("commons-*.jar"))), str(_JARS / "zip4j.jar")])
    run([oracles.need("javac"), "-cp", path, "-d", target, Path(__file__).parent / "ReadZipJars.java"])
    return path


def funzip_pipe(archive: bytes, place: Path) -> Member:
    """The first member, which is all that it reads."""
    done = subprocess.run([oracles.need("funzip")], input=archive, capture_output=True, timeout=200, check=False)
    if done.returncode or done.stderr.strip() not in (b"", _MORE):
        raise Refused(done.stderr.decode())
    return Member(len(done.stdout), crc32(done.stdout))


_MORE = b"funzip warning: zipfile has more than one entry--rest ignored"


def _need(command: list[str], name: str) -> None:
    if subprocess.run(command, capture_output=True, check=False).returncode:
        oracles.miss(f"{name} is not installed")


BY_DIRECTORY: dict[str, Reader] = {
    "archive-zip": archive_zip,
    "busybox": busybox,
    "commons-compress": partial(jars_file, "commons-compress"),
    "minizip": minizip,
    "php": php,
    "sqlite": sqlite,
    "zip4j": partial(jars_file, "zip4j"),
    "zipimport": zipimport,
}
FROM_PIPE: dict[str, Reader] = {
    "commons-compress-pipe": partial(jars_pipe, "commons-compress"),
    "io-uncompress-pipe": io_unzip,
    "jar-pipe": jar_pipe,
    "zip4j-pipe": partial(jars_pipe, "zip4j"),
}
MORE_READERS = BY_DIRECTORY | FROM_PIPE
