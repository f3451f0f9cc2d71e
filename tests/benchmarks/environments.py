"""A virtual environment for each contender, made by pip and kept in a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_MARK = "requirements.txt"  # written last: an environment without it is not whole


def cache_folder() -> Path:
    """Where environments and data are kept unless another place is asked for."""
    for variable, below in (("XDG_CACHE_HOME", ""), ("LOCALAPPDATA", ""), ("HOME", ".cache")):
        base = os.environ.get(variable)
        if base and (Path(base) / below).is_dir():
            return Path(base, below, "zipstream-adapter-benchmarks")
    return Path(tempfile.gettempdir(), "zipstream-adapter-benchmarks")


def make(cache: Path, requirements: tuple[str, ...], fresh: bool) -> Path:
    """The Python of an environment that has `requirements`; made where there is none, or a `fresh` one is asked."""
    version = ".".join(map(str, sys.version_info[:3]))
    name = "-".join(requirements).replace(".[", "ours-").replace("]", "")
    folder = cache / f"python-{version}" / ("ours" if name == "." else name)
    wanted = "\n".join(_installable(each) for each in requirements)
    python = program(folder, "python")
    if not fresh and (folder / _MARK).is_file() and (folder / _MARK).read_text("utf-8") == wanted and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"making an environment for {', '.join(requirements)}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted.split("\n")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"pip could not install {', '.join(requirements)}:\n{done.stderr}")
    (folder / _MARK).write_text(wanted, "utf-8")
    return python


def program(folder: Path, name: str) -> Path:
    """A program of the environment in `folder`."""
    return folder / "Scripts" / f"{name}.exe" if os.name == "nt" else folder / "bin" / name


def _installable(requirement: str) -> str:
    """The checkout is installed as it stands, so that a kept environment does not grow old."""
    return f"--editable={CHECKOUT}{requirement[1:]}" if requirement.startswith(".") else requirement
