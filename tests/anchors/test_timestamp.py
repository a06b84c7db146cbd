"""A time-stamp service (RFC 3161), answered for by openssl; and answers that are not good."""

from __future__ import annotations

import builtins
import hashlib
import http.server
import random
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc3161_client
from cryptography.x509.oid import ExtendedKeyUsageOID

from ivr_consent.anchors import timestamp as module
from ivr_consent.anchors.place import MAX_PROOF, AnchorError, Limit
from ivr_consent.anchors.timestamp import Judge, TimestampAnchor, TokenError, in_order, judge
from ivr_consent.config_anchors import TimestampAnchor as Table
from tests.anchors.support import HOST, LOG_ID, PATIENCE, Answer, Tsa, certificate, checkpoint, limit, proxy, reply, web
from tests.tools import need

ONE, TWO = checkpoint(1), checkpoint(2000)


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    need("openssl")
    return Tsa(tmp_path_factory.mktemp("tsa") / "service")


def honest(tsa: Tsa, *words: str) -> Answer:
    return lambda handler, question: reply(handler, tsa.answer(question, *words))


def anchor(
    tsa: Tsa, port: int, directory: Path | None = None, scheme: str = "http", host: str = HOST
) -> TimestampAnchor:
    pem = tsa.authority.pem
    return TimestampAnchor(Table(url=f"{scheme}://{host}:{port}/tsr?x=1", ca_file=pem), pem, directory)


def refused(tsa: Tsa, answer: Answer, told: str, within: float = PATIENCE) -> None:
    """The answer is refused, for that reason, and nothing is kept of it."""
    with web(answer) as port, pytest.raises(AnchorError, match=told) as error:
        anchor(tsa, port).publish(ONE, limit(within))
    assert str(error.value).isprintable()
    assert "x=1" not in str(error.value), "a site's key for the service may stand there"


# --- what is good ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("-chain", "AUTHORITY")])
def test_a_time_stamp_is_verified_and_kept(tsa: Tsa, tmp_path: Path, words: tuple[str, ...]) -> None:
    """With the note it stands for itself: openssl verifies it without us."""
    words = tuple(word.replace("AUTHORITY", str(tsa.authority.pem)) for word in words)
    before = datetime.now(UTC) - timedelta(seconds=2)
    with web(honest(tsa, *words)) as port:
        proof = anchor(tsa, port, tmp_path).publish(ONE, limit())
    seen = judge(tsa.authority.pem).time(proof, ONE.note.encode())
    assert before <= seen <= datetime.now(UTC) + timedelta(seconds=2)
    note, token = sorted(tmp_path.iterdir())
    assert (note.name, token.name) == (f"{LOG_ID}-000000000001.note", f"{LOG_ID}-000000000001.tsr")
    assert (note.read_text(), token.read_bytes()) == (ONE.note, proof)
    assert token.stat().st_mode & 0o777 == 0o644
    verify = ["openssl", "ts", "-verify", "-data", str(note), "-in", str(token), "-CAfile", str(tsa.authority.pem)]
    assert b"Verification: OK" in subprocess.run(verify, capture_output=True, check=True, timeout=PATIENCE).stdout


def test_certificates_in_any_order_are_taken(tsa: Tsa) -> None:
    """R23: many services send them signer first, which the library refuses; the signature is not over their order."""
    question, nonce = module._question(ONE.note.encode())
    given = tsa.answer(question, "-chain", str(tsa.authority.pem))
    ordered = in_order(given)
    certificates = [tsa.signer.der, tsa.authority.der]
    other = given
    if given == ordered:  # turn them round
        first, second = sorted(certificates)
        other = given.replace(first + second, second + first)
    assert other != ordered
    assert len(other) == len(ordered)
    with pytest.raises(ValueError, match="InvalidSetOrdering"):
        rfc3161_client.decode_timestamp_response(other)
    assert in_order(other) == ordered
    assert judge(tsa.authority.pem).time(other, ONE.note.encode(), nonce)


def test_what_cannot_be_put_in_order_is_left_as_it_is(tsa: Tsa) -> None:
    """Every beginning of an answer, and every change of one byte: nothing but bytes, or their order, comes out."""
    given = tsa.answer(module._question(ONE.note.encode())[0], "-chain", str(tsa.authority.pem))
    for end in range(len(given)):
        assert sorted(in_order(given[:end])) == sorted(given[:end])
    randomly = random.Random(1)  # noqa: S311 - which places are tried
    for _ in range(5000):
        data = bytearray(given)
        data[randomly.randrange(200)] = randomly.randrange(256)
        assert sorted(in_order(bytes(data))) == sorted(data)


def test_over_https(tsa: Tsa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = certificate(tmp_path, "authority")
    server = certificate(tmp_path, "server", root, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.pem, server.secret)
    with web(honest(tsa), tls) as port:
        with pytest.raises(AnchorError, match="has a wrong certificate for https"):
            anchor(tsa, port, scheme="https", host="localhost").publish(ONE, limit())
        monkeypatch.setenv("SSL_CERT_FILE", str(root.pem))
        assert anchor(tsa, port, scheme="https", host="localhost").publish(ONE, limit())
        with pytest.raises(AnchorError, match="has a wrong certificate"):
            anchor(tsa, port, scheme="https").publish(ONE, limit())  # the certificate is of a name


def test_what_is_asked(tsa: Tsa) -> None:
    """The note's digest and nothing of the note, with a nonce that never comes again."""
    questions: list[bytes] = []
    seen: list[tuple[str, Any]] = []

    def answer(handler: http.server.BaseHTTPRequestHandler, question: bytes) -> None:
        questions.append(question)
        seen.append((handler.path, handler.headers["Content-Type"]))
        reply(handler, tsa.answer(question))

    with web(answer) as port:
        for _ in range(2):
            anchor(tsa, port).publish(ONE, limit())
    assert seen == [("/tsr?x=1", "application/timestamp-query")] * 2
    assert questions[0] != questions[1]
    assert hashlib.sha256(ONE.note.encode()).digest() in questions[0]
    assert LOG_ID.encode() not in questions[0]


# --- answers that are not good ---------------------------------------------------------------------------------------


def test_an_answer_to_another_question(tsa: Tsa) -> None:
    """A replay: the same note, asked before."""
    old = tsa.answer(module._question(ONE.note.encode())[0])
    refused(tsa, lambda handler, _: reply(handler, old), "not good: Nonce mismatch")


def test_an_answer_about_something_else(tsa: Tsa, monkeypatch: pytest.MonkeyPatch) -> None:
    question, nonce = module._question(TWO.note.encode())
    monkeypatch.setattr(module, "_question", lambda _: (question, nonce))
    refused(tsa, lambda handler, body: reply(handler, tsa.answer(body)), "Mismatch between messages")


def test_a_service_that_is_not_trusted(tsa: Tsa, tmp_path: Path) -> None:
    refused(tsa, honest(Tsa(tmp_path / "other")), "not good: it is not signed by a certificate that is trusted")


def test_a_certificate_that_was_over(tsa: Tsa, tmp_path: Path) -> None:
    """It may be over now, for a time-stamp of then; not at the time that the time-stamp tells."""
    over = Tsa(tmp_path / "over", begin=datetime.now(UTC) - timedelta(days=90), days=30)
    with (
        web(honest(over)) as port,
        pytest.raises(AnchorError, match="it is not signed by a certificate that is trusted and was valid then"),
    ):
        anchor(over, port).publish(ONE, limit())


def test_a_time_stamp_outlives_its_certificate(tsa: Tsa, tmp_path: Path) -> None:
    """R23: years later the certificate is over, and the time-stamp is as good as it was."""
    brief = Tsa(tmp_path / "brief", begin=datetime.now(UTC) - timedelta(days=1), days=1 + 4 / 86400)
    answer = brief.answer(module._question(ONE.note.encode())[0])
    wait = threading.Event()
    while datetime.now(UTC) <= brief.signer.certificate.not_valid_after_utc:
        wait.wait(0.1)
    assert judge(brief.authority.pem).time(answer, ONE.note.encode())


def test_a_certificate_for_another_use(tsa: Tsa, tmp_path: Path) -> None:
    """Of the same authority and with the same key, for web servers: it may not tell the time."""
    raw = tsa.answer(module._question(ONE.note.encode())[0])
    number = tsa.signer.certificate.serial_number
    use = ExtendedKeyUsageOID.SERVER_AUTH
    other = tsa.authority
    while len(other.der) != len(tsa.signer.der):  # a signature's length changes by itself
        other = certificate(tmp_path, "signer", tsa.authority, usage=use, key=tsa.signer.key, serial=number)
    assert raw.count(tsa.signer.der) == 1
    by = judge(tsa.authority.pem)
    assert by.time(raw, ONE.note.encode())
    with pytest.raises(TokenError, match="it is not signed by a certificate that is trusted"):
        by.time(raw.replace(tsa.signer.der, other.der), ONE.note.encode())


def test_a_time_that_is_far_away(tsa: Tsa, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stolen key that is over by now, a service could tell a time when it was not."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # narrower than datetime's: all that is called
            return datetime.now(tz) + timedelta(days=2)

    monkeypatch.setattr(module, "datetime", Later)
    refused(tsa, honest(tsa), "says that it is 20.*set this machine's clock")


def test_it_refuses(tsa: Tsa) -> None:
    """Its reason is told, as one line."""
    status = b"\x30\x16\x30\x14\x02\x01\x02\x30\x0f\x0c\x0dnot\x1b[31mtoday"
    refused(tsa, lambda handler, _: reply(handler, status), r"refused \(status 2: not.*today\)")
    unknown = b"\x30\x05\x30\x03\x02\x01\x63"
    refused(tsa, lambda handler, _: reply(handler, unknown), r"refused \(status 99\)|no answer")
    granted = b"\x30\x05\x30\x03\x02\x01\x00"
    refused(tsa, lambda handler, _: reply(handler, granted), "not good|no answer")


@pytest.mark.parametrize(
    "body", [b"", b"<html>no such page</html>", b"\x30\x80\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\0" * 500]
)
def test_no_answer_at_all(tsa: Tsa, body: bytes) -> None:
    refused(tsa, lambda handler, _: reply(handler, body), "something that is no answer to a question for a time-stamp")


def test_an_answer_that_was_changed_anywhere(tsa: Tsa) -> None:
    """No change of a byte makes another time or another message of it, and none is an error that nobody foresaw."""
    message = ONE.note.encode()
    question, nonce = module._question(message)
    good = tsa.answer(question)
    by = judge(tsa.authority.pem)
    time = by.time(good, message, nonce)
    randomly = random.Random(1)  # noqa: S311 - which places are tried
    taken = [told_by(by, good, randomly, message, nonce) for _ in range(3000)]
    assert set(taken) <= {None, time}
    assert taken.count(time) < 100, "the few bytes that nothing depends on"


def told_by(by: Judge, good: bytes, randomly: random.Random, message: bytes, nonce: int) -> datetime | None:
    data = bytearray(good)
    data[randomly.randrange(len(data))] ^= 1 << randomly.randrange(8)
    try:
        return by.time(bytes(data), message, nonce)
    except TokenError:
        return None


def test_it_is_too_much(tsa: Tsa) -> None:
    refused(
        tsa, lambda handler, _: reply(handler, b"x" * (MAX_PROOF + 1)), f"answered with more than {MAX_PROOF} bytes"
    )

    def endless(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 10_000)

    refused(tsa, endless, f"answered with more than {MAX_PROOF} bytes")


def test_it_is_too_slow(tsa: Tsa) -> None:
    """A byte at a time, each of them in time."""
    over = threading.Event()

    def slowly(handler: http.server.BaseHTTPRequestHandler, question: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        for byte in tsa.answer(question):
            if over.wait(0.05):
                return
            handler.wfile.write(bytes([byte]))

    def never(*_: object) -> None:
        over.wait(PATIENCE)

    def head(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.05):
            handler.wfile.write(b"X")

    def once_more(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        while not over.wait(0.05):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    try:
        for answer in (slowly, never, head, once_more):
            refused(tsa, answer, r"did not end within 1 s", 1)
    finally:
        over.set()


@pytest.mark.parametrize(
    ("status", "told"),
    [(404, r"answered 404 \(Not Found\)"), (302, "answered 302"), (307, "answered 307"), (500, "answered 500")],
)
def test_another_status(tsa: Tsa, status: int, told: str) -> None:
    """A redirection is not followed: it could lead anywhere."""

    def answer(handler: http.server.BaseHTTPRequestHandler, question: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Location", "file:///etc/passwd")
        handler.end_headers()
        handler.wfile.write(tsa.answer(question))

    refused(tsa, answer, told)


def test_it_speaks_another_language(tsa: Tsa) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"220 \x1b[31mmail\r\n" * 3)

    refused(tsa, answer, "cannot be asked")


def test_nobody_listens(tsa: Tsa) -> None:
    with pytest.raises(AnchorError, match=r"cannot be asked \(.*refused.*\); see log\.anchors\.timestamp"):
        anchor(tsa, 1).publish(ONE, limit())
    with pytest.raises(AnchorError, match="cannot be asked"):
        anchor(tsa, 80, host="no-such-machine.invalid").publish(ONE, limit())


def test_it_is_wanted_no_longer(tsa: Tsa) -> None:
    over, stop = threading.Event(), threading.Event()
    threading.Timer(0.3, stop.set).start()

    def never(*_: object) -> None:
        over.wait(PATIENCE)

    try:
        with web(never) as port, pytest.raises(AnchorError, match="was stopped"):
            anchor(tsa, port).publish(ONE, Limit(600, stop))
    finally:
        over.set()


# --- through a proxy -------------------------------------------------------------------------------------------------


def test_through_a_proxy(tsa: Tsa, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []

    def answer(handler: http.server.BaseHTTPRequestHandler, question: bytes) -> None:
        paths.append(handler.path)
        reply(handler, tsa.answer(question))

    with web(answer) as port:
        monkeypatch.setenv("http_proxy", f"http://{HOST}:{port}")
        there = anchor(tsa, 80, host="no-such-machine.invalid")
        assert there.publish(ONE, limit())
        assert paths == ["http://no-such-machine.invalid:80/tsr?x=1"]
        monkeypatch.setenv("no_proxy", "no-such-machine.invalid")
        with pytest.raises(AnchorError, match="cannot be asked"):
            there.publish(ONE, limit())
        monkeypatch.delenv("no_proxy")
        monkeypatch.setenv("http_proxy", "socks5://x:1")
        with pytest.raises(AnchorError, match="not of the form"):
            there.publish(ONE, limit())


def test_https_through_a_proxy(tsa: Tsa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy connects, and hears nothing of what is said."""
    root = certificate(tmp_path, "authority")
    server = certificate(tmp_path, "server", root, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.pem, server.secret)
    monkeypatch.setenv("SSL_CERT_FILE", str(root.pem))
    asked: list[str] = []
    with web(honest(tsa), tls) as port:
        with proxy(asked) as through:
            monkeypatch.setenv("https_proxy", f"http://{HOST}:{through}")
            assert anchor(tsa, port, scheme="https", host="localhost").publish(ONE, limit())
        assert asked == [f"localhost:{port}"]
        with proxy(asked, 407) as through:
            monkeypatch.setenv("https_proxy", f"http://{HOST}:{through}")
            with pytest.raises(AnchorError, match="is behind a proxy that answered 407"):
                anchor(tsa, port, scheme="https", host="localhost").publish(ONE, limit())


# --- what is needed --------------------------------------------------------------------------------------------------


def test_the_package_is_missing(tsa: Tsa, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name == "rfc3161_client":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(AnchorError, match="pip install rfc3161-client"):
        anchor(tsa, 1).publish(ONE, limit())


def test_certificates_that_are_none(tsa: Tsa, tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("no certificates")
    for path, told in ((tmp_path / "none", "cannot be read"), (tmp_path / "junk", "holds no certificates in PEM")):
        with pytest.raises(AnchorError, match=told):
            TimestampAnchor(Table(url="http://tsa.example/", ca_file=path), path, None).publish(ONE, limit())


# --- reading back ----------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tsa: Tsa, tmp_path: Path) -> Iterator[tuple[Path, TimestampAnchor]]:
    with web(honest(tsa)) as port:
        there = anchor(tsa, port, tmp_path)
        for sealed in (ONE, TWO):
            there.publish(sealed, limit())
        yield tmp_path, there


def test_they_are_read_back(kept: tuple[Path, TimestampAnchor]) -> None:
    _, there = kept
    told: list[str] = []
    found = list(there.stamped(limit(), told.append))
    assert [stamped.sealed for stamped in found] == list(there.read(limit())) == [ONE, TWO]
    assert all(abs(datetime.now(UTC) - stamped.time) < timedelta(minutes=5) for stamped in found)
    assert told == []


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (".note", TWO.note, "Mismatch between messages"),
        (".note", "x", "not a signed note"),
        (".note", None, "cannot be read"),
        (".tsr", "x", "no answer"),
        (".tsr", "x" * 1_000_000, "more than"),
    ],
)
def test_what_was_changed_is_told_and_passed_over(
    kept: tuple[Path, TimestampAnchor], name: str, content: str | None, why: str
) -> None:
    folder, there = kept
    path = folder / f"{LOG_ID}-000000000001{name}"
    path.unlink()
    if content is not None:
        path.write_text(content)
    told: list[str] = []
    assert [stamped.sealed for stamped in there.stamped(limit(), told.append)] == [TWO]
    (said,) = told
    assert f"{LOG_ID}-000000000001.tsr" in said
    assert why in said


def test_a_directory_that_is_gone(tsa: Tsa, tmp_path: Path) -> None:
    there = anchor(tsa, 1, tmp_path / "none")
    with pytest.raises(AnchorError, match=r"cannot be read .*directory"):
        list(there.read(limit()))
    with pytest.raises(AnchorError, match=r"stand in the log alone"):
        list(anchor(tsa, 1).read(limit()))
    with web(honest(tsa)) as port, pytest.raises(AnchorError, match="cannot be written"):
        anchor(tsa, port, tmp_path / "none").publish(ONE, limit())
