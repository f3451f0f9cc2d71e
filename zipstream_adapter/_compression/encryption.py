"""Encryption by AES-256 as WinZip defines it (AE-2), which 7z, bsdtar and the tools of most systems read.

Each member has its own salt, and so its own keys: PBKDF2 with HMAC-SHA-1, 1,000 rounds. The compressed data is
encrypted by AES in counter mode. An authentication code follows it: HMAC-SHA-1 of the encrypted data, cut to 10 bytes.
The CRC-32 is not stored, since it would reveal something about the data. APPNOTE 7.2 reserves the method number and the
extra field; WinZip's AES note specifies the format.
"""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .._concurrency.ordered import InOrder, Workers

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SALT, _KEY, _CHECK, _CODE = 16, 32, 2, 10
_ROUNDS = 1000
# Bytes that encryption adds to a member's data: salt, password check and authentication code.
OVERHEAD = _SALT + _CHECK + _CODE
# Bytes to encrypt at a time: few enough to be still in the core's cache when they are authenticated.
ENCRYPTION_STEP = 1 << 18
# Effort to derive a key, and to encrypt a byte, in bytes of zlib's CRC-32.
_KEY_EFFORT, _EFFORT = 1 << 22, 4

Salt = Callable[[int], bytes]  # returns as many random bytes


class Key(NamedTuple):
    """The keys of one member. Its repr shows the salt only.

    Attributes:
        salt: 16 random bytes, which the archive stores.
        cipher: 32 bytes, the key of AES.
        code: 32 bytes, the key of the HMAC.
        check: 2 bytes, by which readers reject most wrong passwords at once.
    """

    salt: bytes
    cipher: bytes
    code: bytes
    check: bytes

    def __repr__(self) -> str:
        return f"<Key for the salt {self.salt.hex()}>"


def derive(password: bytes, salt: bytes) -> Key:
    """Derive the keys for `password` and `salt`. Takes some milliseconds."""
    import hashlib  # only for those who encrypt

    derived = hashlib.pbkdf2_hmac("sha1", password, salt, _ROUNDS, 2 * _KEY + _CHECK)
    return Key(salt, derived[:_KEY], derived[_KEY : 2 * _KEY], derived[2 * _KEY :])


class Keys:
    """The keys of one archive's members. From the second member on, workers derive them in advance.

    Args:
        workers: derive the keys.
        salt: returns random bytes. If it is not `os.urandom`, nothing is derived in advance, and it is called once per
            member, in the order of the members.
    """

    def __init__(self, workers: Workers, salt: Salt = os.urandom) -> None:
        self._salt = salt
        self._workers = workers
        self._order: InOrder[Key] = InOrder(workers)
        self._password: bytes | None = None  # of the last member; the next one probably has the same
        self._generation = workers.generation
        self._ready: deque[Key] = deque()

    def next(self, password: bytes) -> Key:
        """The key for the next member."""
        # After a fork, keys derived in advance belong to the parent: a key used for two archives would reveal both.
        is_forked = self._generation != self._workers.generation
        if password != self._password or self._salt is not os.urandom or is_forked:
            self.close()
            self._password, self._generation = password, self._workers.generation
            return derive(password, self._salt(_SALT))
        while not self._ready:
            self._ready += self._order.start(partial(derive, password, self._salt(_SALT)))
        return self._ready.popleft()

    def close(self) -> None:
        """Discard the keys derived in advance."""
        self._ready.clear()
        self._order.close()


class Encryptor:
    """Encrypts the data of one member.

    key: returns the member's key. Called once: with the first data, or by `finish` if there is none.
    """

    def __init__(self, key: Callable[[], Key]) -> None:
        self._key = key
        self._begun = False
        self._cipher: Any = None
        self._code: Any = None

    def encrypt(self, data: Buffer) -> bytes:
        """Encrypt the next `data`. The first output begins with the salt and the password check."""
        if not data:
            return b""
        head = b"" if self._begun else self._begin()
        encrypted: bytes = self._cipher.encrypt(data)
        self._code.update(encrypted)
        return head + encrypted if head else encrypted

    def finish(self) -> bytes:
        """Return the authentication code, which follows the data; before it salt and check, if there was no data."""
        head = b"" if self._begun else self._begin()
        code: bytes = self._code.digest()
        return head + code[:_CODE]

    def effort(self, size: int) -> int:
        """Estimated work of encrypting `size` bytes, in bytes of zlib's CRC-32."""
        return size * _EFFORT + (0 if self._begun else _KEY_EFFORT)

    def _begin(self) -> bytes:
        import hmac  # only for those who encrypt

        key = self._key()
        self._cipher = aes_counter_mode(key.cipher)
        self._code = hmac.new(key.code, digestmod="sha1")
        self._begun = True
        return key.salt + key.check


def check_installed() -> None:
    """Raise ImportError, which names the extra, if the encryption library is not installed."""
    try:
        _modules()
    except ImportError as exc:
        raise ImportError(
            "password=…: the encryption library is not installed: install the extra 'crypto' (pip install "
            "'zipstream-adapter[crypto]')"
        ) from exc


def aes_counter_mode(key: bytes) -> Any:
    """A cipher with ``encrypt(data) -> bytes``: AES in counter mode. The counter is little-endian and starts at 1."""
    aes, counter = _modules()
    return aes.new(key, aes.MODE_CTR, counter=counter.new(128, little_endian=True, initial_value=1))


@cache
def _modules() -> tuple[Any, Any]:
    return importlib.import_module("Crypto.Cipher.AES"), importlib.import_module("Crypto.Util.Counter")
