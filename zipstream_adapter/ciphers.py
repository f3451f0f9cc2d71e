"""The cipher that members are encrypted with (extra ``crypto``). It is not imported before somebody wants it."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any


def check_installed() -> None:
    """Refuse, with an ImportError that names the extra, where there is nothing to encrypt with."""
    try:
        _modules()
    except ImportError as exc:
        raise ImportError(
            "password=…: what encrypts is not installed: install the extra 'crypto' (pip install "
            "'zipstream-adapter[crypto]')"
        ) from exc


def aes_counter_mode(key: bytes) -> Any:
    """AES in counter mode, with ``encrypt(data) -> bytes``; the counter is a little-endian number, from 1 on."""
    aes, counter = _modules()
    return aes.new(key, aes.MODE_CTR, counter=counter.new(128, little_endian=True, initial_value=1))


@cache
def _modules() -> tuple[Any, Any]:
    return importlib.import_module("Crypto.Cipher.AES"), importlib.import_module("Crypto.Util.Counter")
