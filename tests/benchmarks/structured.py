"""Logs, tables and documents that machines write, generated line by line from fixed seeds."""

from __future__ import annotations

import json
import random
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, count
from uuid import UUID

from tests.benchmarks.wording import sentences, word_list


class _Skewed:
    """Draws from a list where the nth item comes 1/n as often as the first (Zipf)."""

    def __init__(self, rng: random.Random, items: Iterable[str], exponent: float = 1.0) -> None:
        self._rng, self._items = rng, list(items)
        self._sums = list(accumulate(1 / rank**exponent for rank in range(1, len(self._items) + 1)))

    def __call__(self) -> str:
        return self._items[bisect(self._sums, self._rng.random() * self._sums[-1])]


def access_log() -> Iterator[bytes]:
    """A web server's log in the combined format."""
    rng = random.Random(20)
    hosts = _Skewed(rng, (".".join(str(rng.randint(1, 254)) for _ in range(4)) for _ in range(3000)), 0.8)
    words = word_list()
    paths = _Skewed(rng, (f"/{'/'.join(rng.choices(words, k=rng.randint(1, 4)))}" for _ in range(5000)))
    endings = _Skewed(rng, ("", ".html", ".js", ".css", "?page=2", ".png", "?utm_source=mail"))
    agents = _Skewed(rng, (_agent(rng) for _ in range(150)))
    statuses, methods = _Skewed(rng, ("200", "304", "301", "404", "500")), _Skewed(rng, ("GET", "POST", "HEAD"), 2)
    moment = 0.0
    while True:
        moment += rng.expovariate(8)
        clock = f"{3 + int(moment) // 86400:02}/Feb/2024:{_clock(moment)} +0000"
        referrer = "-" if rng.random() < 0.4 else f"https://www.example.org{paths()}"
        yield (
            f'{hosts()} - - [{clock}] "{methods()} {paths()}{endings()} HTTP/1.1" {statuses()} '
            f'{int(rng.lognormvariate(8, 2))} "{referrer}" "{agents()}"\n'
        ).encode()


def _clock(moment: float) -> str:
    second = int(moment)
    return f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"


def _agent(rng: random.Random) -> str:
    system = rng.choice(("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64"))
    version = f"{rng.randint(90, 122)}.0"
    if rng.random() < 0.3:
        return f"Mozilla/5.0 ({system}; rv:{version}) Gecko/20100101 Firefox/{version}"
    return f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0 Safari/537.36"


def application_log() -> Iterator[bytes]:
    rng = random.Random(21)
    words = word_list()
    places = _Skewed(rng, (f"{rng.choice(words)}.{rng.choice(words)}" for _ in range(60)))
    levels = _Skewed(rng, ("INFO", "DEBUG", "WARNING", "ERROR"))
    messages = _Skewed(rng, (" ".join(rng.choices(words, k=rng.randint(3, 9))) for _ in range(200)))
    moment = 0.0
    while True:
        moment += rng.expovariate(30)
        level, place = levels(), places()
        head = f"2024-02-03 {_clock(moment)},{int(moment * 1000) % 1000:03} {level:8} [worker-{rng.randint(1, 8)}]"
        tail = f"id={rng.getrandbits(40):x} took={rng.lognormvariate(2, 1):.1f}ms"
        yield f"{head} {place}: {messages()} {tail}\n".encode()
        if level == "ERROR":
            line = rng.randint(10, 900)
            yield f'Traceback (most recent call last):\n  File "/srv/{place}.py", line {line}, in run\n'.encode()
            yield f"    return self.{place}(request)\nValueError: {messages()}\n".encode()


def system_log() -> Iterator[bytes]:
    """Short lines of a few kinds, as syslog has them."""
    rng = random.Random(22)
    kinds = _Skewed(rng, ("sshd", "kernel", "cron", "systemd"))
    users = _Skewed(rng, word_list()[:400])
    moment = 0.0
    while True:
        moment += rng.expovariate(1)
        kind, user, number = kinds(), users(), rng.randint(300, 65000)
        text = {
            "sshd": f"Failed password for {user} from 10.{number % 200}.{number % 17}.4 port {number} ssh2",
            "kernel": f"[{moment:12.6f}] eth0: dropped packet len={number} flags=0x{rng.getrandbits(16):04x}",
            "cron": f"({user}) CMD (cd / && run-parts --report /etc/cron.hourly)",
            "systemd": f"Started Session {number} of User {user}.",
        }[kind]
        yield f"Feb  3 {_clock(moment)} host-{number % 7} {kind}[{number}]: {text}\n".encode()


def health_log() -> Iterator[bytes]:
    """Hardly anything new in any line: twenty to one and more."""
    rng = random.Random(29)
    moment = 0.0
    while True:
        moment += rng.uniform(0.9, 1.1)
        clock, path = _clock(moment), rng.choice(("live", "live", "live", "ready", "metrics"))
        yield (
            f'{{"time":"2024-02-03T{clock}Z","level":"info","msg":"request","method":"GET","path":"/health/{path}",'
            f'"status":200,"remote":"10.0.0.{rng.randint(2, 5)}","duration_ms":{rng.randint(0, 9)}}}\n'
        ).encode()


def counted_rows() -> Iterator[bytes]:
    """What a loop that fills a table for a test writes: everything follows from the number of the row."""
    for number in count():
        value = number * 7919 % 100_003
        yield f"{number},user{number},user{number}@example.com,{value},{value / 7:.2f},{number % 2 == 0}\n".encode()


def counted_objects() -> Iterator[bytes]:
    for number in count():
        item = {
            "id": number,
            "name": f"item-{number}",
            "value": number * 37 % 1009,
            "tags": ["a", "b", f"t{number % 7}"],
        }
        yield json.dumps(item).encode() + b"\n"


def csv_mixed() -> Iterator[bytes]:
    """Orders: numbers that count up, dates, names, categories, prices, a remark now and then."""
    rng = random.Random(23)
    words = word_list()
    names, products = _Skewed(rng, words, 0.7), _Skewed(rng, rng.sample(words, 500))
    remarks = sentences(23)
    for number in count(100_000):
        day = number // 400
        remark = next(remarks)[:60] if rng.random() < 0.1 else ""
        yield (
            f"{number},2024-{day // 28 % 12 + 1:02}-{day % 28 + 1:02},{names().title()} {names().title()},{products()},"
            f"{rng.lognormvariate(3, 1):.2f},{int(rng.paretovariate(1.5))},{rng.choice(('EUR', 'USD', 'GBP'))},"
            f"{rng.random() < 0.8},{remark}\r\n"
        ).encode()


def csv_numbers() -> Iterator[bytes]:
    """Readings of sensors: nothing but digits and separators."""
    rng = random.Random(24)
    values = [20.0, 1013.0, 45.0, 0.0]
    for moment in count(1_700_000_000, 10):
        values = [value + rng.gauss(0, 0.1) for value in values]
        yield f"{moment},{rng.randint(1, 20)},{','.join(f'{value:.3f}' for value in values)}\n".encode()


def json_lines() -> Iterator[bytes]:
    rng = random.Random(25)
    events = _Skewed(rng, ("page_view", "click", "scroll", "purchase", "login", "error"))
    users = _Skewed(rng, (str(UUID(int=rng.getrandbits(128))) for _ in range(20_000)), 0.7)
    agents = _Skewed(rng, (_agent(rng) for _ in range(80)))
    words = word_list()
    for number in count():
        event = {
            "event": events(),
            "ts": f"2024-02-03T{_clock(number / 20)}.{rng.randint(0, 999):03}Z",
            "user": {"id": users(), "agent": agents(), "premium": rng.random() < 0.2},
            "position": [round(rng.uniform(-90, 90), 5), round(rng.uniform(-180, 180), 5)],
            "tags": rng.sample(words, rng.randint(0, 4)),
            "duration": rng.randint(0, 30_000) if rng.random() < 0.7 else None,
        }
        yield json.dumps(event, separators=(",", ":")).encode() + b"\n"


def json_pretty() -> Iterator[bytes]:
    """An indented document, most of it structure that repeats."""
    rng = random.Random(26)
    words, texts = word_list(), sentences(26)
    for number in count(1):
        product = {
            "id": number,
            "sku": f"{rng.choice(words)[:3].upper()}-{rng.randint(1000, 99999)}",
            "name": " ".join(rng.choices(words, k=3)),
            "description": next(texts),
            "dimensions": {"width": rng.randint(1, 300), "height": rng.randint(1, 300), "unit": "mm"},
            "prices": [{"currency": name, "amount": round(rng.lognormvariate(3, 1), 2)} for name in ("EUR", "USD")],
            "available": rng.random() < 0.9,
        }
        yield json.dumps(product, indent=2).encode() + b",\n"


def xml() -> Iterator[bytes]:
    rng = random.Random(27)
    words, texts = word_list(), sentences(27)
    for number in count(1):
        named = rng.sample(words, rng.randint(1, 4))
        tags = "".join(f'    <category domain="shop">{word}</category>\n' for word in named)
        yield (
            f'  <item xml:id="item-{number}">\n    <title>{next(texts)[:40]}</title>\n'
            f"    <link>https://www.example.org/{rng.choice(words)}/{number}</link>\n{tags}"
            f"    <pubDate>Sat, {number // 9000 % 28 + 1:02} Feb 2024 {_clock(number * 9.7)} GMT</pubDate>\n"
            f"    <description>{next(texts)}</description>\n"
            f"    <price>{rng.lognormvariate(3, 1):.2f}</price>\n  </item>\n"
        ).encode()


def sql_dump() -> Iterator[bytes]:
    rng = random.Random(28)
    words = word_list()
    for number in count(1):
        values = f"{number},'{rng.choice(words)}@example.org','{rng.getrandbits(160):040x}',{rng.randint(0, 9)},NULL"
        yield f"INSERT INTO `accounts` VALUES ({values},'2023-11-{rng.randint(1, 30):02} {_clock(number)}');\n".encode()


MAKERS: tuple[Callable[[], Iterator[bytes]], ...] = (
    access_log,
    application_log,
    system_log,
    health_log,
    counted_rows,
    counted_objects,
    csv_mixed,
    csv_numbers,
    json_lines,
    json_pretty,
    xml,
    sql_dump,
)
