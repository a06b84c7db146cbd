"""Mail with the newest checkpoint."""

from __future__ import annotations

import email
import email.policy
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from ivr_consent.anchors import mail as module
from ivr_consent.anchors.mail import MAX_ANSWERS, MailAnchor
from ivr_consent.anchors.place import AnchorError, Limit
from ivr_consent.config_anchors import MailAnchor as Table
from ivr_consent.verifier import outside_in
from tests.anchors.support import HOST, LOG_ID, Mailbox, certificate, checkpoint, limit, mail_server

ONE, TWO = checkpoint(1), checkpoint(2000)
TO = ["dpo@example.org", "audit@example.com"]
SENDER = "pbx@example.org"


def anchor(box: Mailbox, **keys: Any) -> MailAnchor:
    password, certificates = keys.pop("password", None), keys.pop("certificates", None)
    table = {"to": TO, "sender": SENDER, "host": HOST, "port": box.port, "tls": "none", **keys}
    return MailAnchor(Table(**table), password, certificates)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as found:
        yield found


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_the_note_is_the_body(box: Mailbox) -> None:
    """So that the mail's own text can be verified as it is."""
    proof = anchor(box).publish(TWO, limit())
    (raw,) = box.mails
    assert TWO.note.replace("\n", "\r\n").encode() in raw
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message["Subject"] == f"Checkpoint of log {LOG_ID}: 2000 events, {TWO.checkpoint.time}"
    assert (message["From"], message["To"]) == (SENDER, ", ".join(TO))
    assert message["Message-ID"] == proof.decode()
    assert message["Message-ID"].endswith("@example.org>")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert [line.partition("<")[2].partition(">")[0] for line in box.recipients] == TO
    assert any("BODY=8BITMIME" in line.upper() for line in box.said)


def test_a_server_of_seven_bits_gets_seven_bits(box: Mailbox) -> None:
    box.extensions = ()
    anchor(box).publish(ONE, limit())
    (raw,) = box.mails
    assert raw.isascii()
    assert not any("BODY" in line.upper() for line in box.said)
    assert kept(raw) == [ONE.note]


def test_the_program_takes_it(tmp_path: Path) -> None:
    """Where no host is given; the recipients are words of their own behind the options."""
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\nprintf '%s|' \"$@\" > {tmp_path}/words\ncat > {tmp_path}/mail\n")
    program.chmod(0o755)
    MailAnchor(Table(to=TO, sender=SENDER, sendmail=program), None, None).publish(ONE, limit())
    assert (tmp_path / "words").read_text() == f"-i|-f|{SENDER}|--|{'|'.join(TO)}|"
    raw = (tmp_path / "mail").read_bytes()
    assert ONE.note.encode() in raw
    assert b"\r" not in raw
    assert kept(raw) == [ONE.note]


def test_the_program_fails(tmp_path: Path) -> None:
    table = Table(to=TO, sender=SENDER, sendmail=tmp_path / "none")
    with pytest.raises(AnchorError, match=r"none cannot be started.*see log\.anchors\.mail"):
        MailAnchor(table, None, None).publish(ONE, limit())
    table = Table(to=TO, sender=SENDER, sendmail=Path("/bin/false"))
    with pytest.raises(AnchorError, match="failed with exit code 1"):
        MailAnchor(table, None, None).publish(ONE, limit())


# --- a server, with and without TLS ----------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """Certificates to trust, and the other side of a connection that they are good for."""
    root = certificate(tmp_path, "authority")
    server = certificate(tmp_path, "server", root, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.pem, server.secret)
    return root.pem, tls


def test_starttls_and_a_password(box: Mailbox, authority: tuple[Path, ssl.SSLContext], tmp_path: Path) -> None:
    """The password is said behind TLS, and the greeting is heard anew there."""
    pem, box.tls = authority
    box.extensions = ("8BITMIME", "STARTTLS", "AUTH PLAIN")
    (tmp_path / "password").write_text("s3cret\n")
    keys = {"tls": "starttls", "host": "localhost", "username": "pbx", "password_file": Path("x")}
    anchor(box, **keys, password=tmp_path / "password", certificates=pem).publish(ONE, limit())
    assert box.users == ["\0pbx\0s3cret"]
    assert len(box.mails) == 1
    verbs = [line.partition(" ")[0].upper() for line in box.said]
    assert verbs.index("STARTTLS") < verbs.index("AUTH")
    assert verbs.count("EHLO") == 2


def test_a_server_without_tls_gets_nothing(box: Mailbox, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    keys = {"tls": "starttls", "username": "pbx", "password_file": Path("x"), "password": tmp_path / "password"}
    with pytest.raises(AnchorError, match="STARTTLS extension not supported"):
        anchor(box, **keys).publish(ONE, limit())
    assert not any("AUTH" in line or "MAIL" in line for line in box.said)


def test_a_certificate_of_somebody_else(box: Mailbox, authority: tuple[Path, ssl.SSLContext], tmp_path: Path) -> None:
    _, box.tls = authority
    box.extensions = ("STARTTLS",)
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other", "other")
    for certificates in (None, other.pem):
        with pytest.raises(AnchorError, match=r"has a wrong certificate .*log\.anchors\.mail\.ca_file"):
            anchor(box, tls="starttls", host="localhost", certificates=certificates).publish(ONE, limit())
    assert box.mails == []


def test_a_file_of_certificates_that_is_none(box: Mailbox, tmp_path: Path) -> None:
    box.extensions = ("STARTTLS",)
    (tmp_path / "junk").write_text("no certificates")
    for path in (tmp_path / "none", tmp_path / "junk"):
        with pytest.raises(AnchorError, match=r"cannot be read .*ca_file"):
            anchor(box, tls="starttls", certificates=path).publish(ONE, limit())
    there = anchor(box, tls="tls", username="pbx", password_file=Path("x"), password=tmp_path / "gone")
    with pytest.raises(AnchorError, match=r"cannot be read .*password_file"):
        there._secret()


# --- servers that do harm --------------------------------------------------------------------------------------------


def test_it_refuses_some(box: Mailbox) -> None:
    """A mail that not everybody got has not been sent."""
    box.refuse = "audit@"
    with pytest.raises(AnchorError, match=r"refused 1 of 2 addresses; see log\.anchors\.mail\.to"):
        anchor(box).publish(ONE, limit())
    box.refuse = "@"
    with pytest.raises(AnchorError, match="refused all of 2 addresses"):
        anchor(box).publish(ONE, limit())


def test_it_is_not_one(box: Mailbox) -> None:
    box.greeting = b"\x1b]0;owned\x07 nothing\r\n"
    with pytest.raises(AnchorError, match="did not take the mail") as refused:
        anchor(box).publish(ONE, limit())
    assert str(refused.value).isprintable()


def test_it_says_no(box: Mailbox) -> None:
    box.greeting = b"554 go\x1b[31m away\r\n"
    with pytest.raises(AnchorError, match=r"did not take the mail \(go.*away\)") as refused:
        anchor(box).publish(ONE, limit())
    assert str(refused.value).isprintable()


def test_it_talks_without_end(box: Mailbox) -> None:
    box.greeting, box.chatter = b"", b"220-" + b"x" * 500 + b"\r\n"
    with pytest.raises(AnchorError, match=f"says more than {MAX_ANSWERS} bytes"):
        anchor(box).publish(ONE, limit())


def test_it_says_nothing(box: Mailbox) -> None:
    box.greeting = b""
    with pytest.raises(AnchorError, match=r"did not end within 0\.5 s"):
        anchor(box).publish(ONE, limit(0.5))


def test_it_says_a_byte_at_a_time(monkeypatch: pytest.MonkeyPatch, box: Mailbox) -> None:
    """Each comes in time, and all of them take for ever: the deadline is for the whole."""
    over = threading.Event()

    box.greeting, box.chatter = b"", b"2"
    monkeypatch.setattr("socketserver._SocketWriter.write", _drip(over))
    try:
        with pytest.raises(AnchorError, match="did not end within 1 s"):
            anchor(box).publish(ONE, limit(1))
    finally:
        over.set()


def _drip(over: threading.Event) -> Any:
    def write(self: Any, data: bytes) -> int:
        over.wait(0.02)
        self._sock.sendall(data)
        return len(data)

    return write


def test_it_does_not_let_go(box: Mailbox) -> None:
    """It has taken the mail, and hangs then: no reason to send it once more."""
    box.silent_at_the_end = True
    assert anchor(box).publish(ONE, limit())
    assert len(box.mails) == 1


def test_nobody_listens(box: Mailbox) -> None:
    table = Table(to=TO, sender=SENDER, host=HOST, port=1, tls="none")
    with pytest.raises(AnchorError, match="Connection refused"):
        MailAnchor(table, None, None).publish(ONE, limit())


def test_it_is_wanted_no_longer(box: Mailbox) -> None:
    box.greeting = b""
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(AnchorError, match="was stopped"):
        anchor(box).publish(ONE, Limit(600, stop))


# --- reading back ----------------------------------------------------------------------------------------------------


def test_it_is_not_read_by_itself(box: Mailbox) -> None:
    assert not anchor(box).readable
    with pytest.raises(AnchorError, match="save it, and name its file"):
        anchor(box).read(limit())


def kept(data: bytes) -> list[str]:
    """What the verifier finds in a file that somebody saved."""
    return [outside.note for outside in outside_in(data)]


@pytest.mark.parametrize("coding", ["8bit", "quoted-printable", "base64"])
def test_saved_mails(coding: str) -> None:
    """One, or a mailbox of many, however they were coded on their way."""

    def raw(number: int, coding: str = coding) -> bytes:
        message = module.mail(checkpoint(number), SENDER, TO)
        message.set_content(checkpoint(number).note, charset="utf-8", cte=coding)
        return message.as_bytes()

    assert kept(raw(1)) == [ONE.note]
    mails = (raw(1), raw(5, "quoted-printable"), raw(6, "base64"), raw(2000))
    box = b"".join(b"From x@example.org Mon Jan  1 00:00:00 2026\n" + mail + b"\n" for mail in mails)
    assert sorted(kept(box)) == sorted(checkpoint(number).note for number in (1, 5, 6, 2000))


def test_a_mail_that_was_passed_on() -> None:
    outer = EmailMessage()
    outer.set_content("see below")
    outer.add_attachment(module.mail(ONE, SENDER, TO))
    outer.add_attachment(TWO.note.encode(), maintype="text", subtype="plain", filename="note.txt")
    assert sorted(kept(outer.as_bytes())) == sorted([ONE.note, TWO.note])


def test_mails_made_to_do_harm() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    for data in (
        deep,
        b"Content-Type: text/plain; charset=\xff\nContent-Transfer-Encoding: base64\n\n!!!",
        b"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=ZZ=\n",
        b"From \nFrom \n\nFrom ",
        b"\0" * 100_000,
    ):
        mailbox = b"From a\n" + data + b"\nFrom b\n" + module.mail(ONE, SENDER, TO).as_bytes()
        assert kept(mailbox) == [ONE.note]
