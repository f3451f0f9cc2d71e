"""Tries: compares passwords, and refuses an address that gave too many wrong ones."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

# Wrong passwords in a row after which an address has to wait, and for how many seconds.
MOST_WRONG, PAUSE_S = 10, 60.0
# Addresses to remember; the one whose last try is the oldest is forgotten first.
_MOST_ADDRESSES = 10_000


class Tries:
    """The password, and the wrong tries of each address (of IPv6: of each /64 network, which one client can have)."""

    def __init__(self, password: bytes) -> None:
        self._expected = _digest(password)
        self._wrong: dict[str, tuple[int, float]] = {}  # by address: wrong tries in a row, and when the last came

    def wait(self, scope: Mapping[str, Any]) -> int:
        """Return the seconds that the client has to wait before its next try; 0 if it need not."""
        count, last = self._wrong.get(_address_of(scope), (0, 0.0))
        return 0 if count < MOST_WRONG else max(0, math.ceil(last + PAUSE_S - time.monotonic()))

    def is_right(self, scope: Mapping[str, Any], password: bytes) -> bool:
        """Compare the password. b"" is none: it is not right, and not counted."""
        address = _address_of(scope)
        count, _ = self._wrong.get(address, (0, 0.0))
        if hmac.compare_digest(_digest(password), self._expected):
            self._wrong.pop(address, None)
            return True
        if password:
            self._wrong.pop(address, None)
            # After the pause, there are as many tries again.
            self._wrong[address] = (1 if count >= MOST_WRONG else count + 1), time.monotonic()
            while len(self._wrong) > _MOST_ADDRESSES:
                del self._wrong[next(iter(self._wrong))]
        return False


def _digest(password: bytes) -> bytes:
    """Return a hash of the password, so that the time of the comparison does not depend on the length."""
    return hashlib.sha256(password).digest()


def _address_of(scope: Mapping[str, Any]) -> str:
    host = str((scope.get("client") or ("",))[0])
    with suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        if address.version == 6 and address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return host
