"""AES-256 as WinZip defines it (AE-2), which 7z, bsdtar and the tools of most systems read: keys, and what uses them.

Each member has a salt of its own, and so keys of its own: PBKDF2 with HMAC-SHA-1, 1,000 rounds. Its data, as it is
coded, goes through AES in counter mode; an HMAC-SHA-1 of the result, cut to 10 bytes, follows it. The CRC-32 is not
stored: it would tell something of the data. (APPNOTE 7.2 reserves what it takes; WinZip's AES note specifies it.)
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .ciphers import aes_counter_mode
from .parallel import InOrder, Workers

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SALT, _KEY, _CHECK, _CODE = 16, 32, 2, 10
_ROUNDS = 1000
# Bytes that encryption adds to a member's data: the salt, what shows that a password is wrong, and the code at the end.
OVERHEAD = _SALT + _CHECK + _CODE
# Bytes that are encrypted at a time: the code is made of them while they are in the core's cache.
ENCRYPTION_STEP = 1 << 18
# In bytes for zlib's CRC-32: what it takes to make a key; and to encrypt a byte.
_KEY_EFFORT, _EFFORT = 1 << 22, 4

Salt = Callable[[int], bytes]  # that many random bytes


class Key(NamedTuple):
    """What one member is encrypted with. check: two bytes that readers compare before they try a password."""

    salt: bytes
    cipher: bytes
    code: bytes
    check: bytes


def derive(password: bytes, salt: bytes) -> Key:
    """The key for `password` and a member's `salt`; some milliseconds of work."""
    made = hashlib.pbkdf2_hmac("sha1", password, salt, _ROUNDS, 2 * _KEY + _CHECK)
    return Key(salt, made[:_KEY], made[_KEY : 2 * _KEY], made[2 * _KEY :])


class Keys:
    """The keys of one archive's members. From the second on they are made ahead, by `workers`.

    Args:
        salt: gives random bytes. Where it is not the system's own, it is asked once for each member, in their order.
    """

    def __init__(self, workers: Workers, salt: Salt = os.urandom) -> None:
        self._salt = salt
        self._workers = workers
        self._order: InOrder[Key] = InOrder(workers)
        self._password: bytes | None = None  # that of the last member, which the next one's may well be
        self._generation = workers.generation
        self._ready: deque[Key] = deque()

    def next(self, password: bytes) -> Key:
        """A key for the next member."""
        # What was made ahead before a fork is the parent's: one key for the data of two archives would tell of both.
        is_forked = self._generation != self._workers.generation
        if password != self._password or self._salt is not os.urandom or is_forked:
            self.close()
            self._password, self._generation = password, self._workers.generation
            return derive(password, self._salt(_SALT))
        while not self._ready:
            self._ready += self._order.start(partial(derive, password, self._salt(_SALT)))
        return self._ready.popleft()

    def close(self) -> None:
        """Give up what was made ahead."""
        self._ready.clear()
        self._order.close()


class Encryptor:
    """One member's encryption: what is coded goes in, in order, and the member's data comes out.

    Its key is made when the first of it comes.
    """

    def __init__(self, key: Callable[[], Key]) -> None:
        self._key = key
        self._begun = False
        self._cipher: Any = None
        self._code: Any = None

    def encrypt(self, data: Buffer) -> bytes:
        """`data`, encrypted; behind the salt and the check, where it is the first."""
        if not data:
            return b""
        head = b"" if self._begun else self._begin()
        encrypted: bytes = self._cipher.encrypt(data)
        self._code.update(encrypted)
        return head + encrypted if head else encrypted

    def finish(self) -> bytes:
        """What stands behind the last of it."""
        head = b"" if self._begun else self._begin()
        code: bytes = self._code.digest()
        return head + code[:_CODE]

    def effort(self, size: int) -> int:
        """What it takes to encrypt `size` bytes."""
        return size * _EFFORT + (0 if self._begun else _KEY_EFFORT)

    def _begin(self) -> bytes:
        key = self._key()
        self._cipher = aes_counter_mode(key.cipher)
        self._code = hmac.new(key.code, digestmod="sha1")
        self._begun = True
        return key.salt + key.check
