"""Checkpoints made by hand, a mail server, a web server, and a time-stamp service that openssl answers for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import Limit
from ivr_consent.verifier import Checkpoint, PublicKey, note

PATIENCE = 30.0
HOST = "127.0.0.1"
LOG_ID = "00112233aabbccdd"


def checkpoint(size: int, log_id: str = LOG_ID) -> Sealed:
    """A checkpoint of so many events, signed by a key that follows from its number."""
    name = f"ivr-consent/{log_id}"

    def key(number: int) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{log_id} {number}".encode()).digest())

    def public(number: int) -> PublicKey:
        return PublicKey(name, key(number).public_key().public_bytes_raw())

    root = hashlib.sha256(f"root {size}".encode()).digest()
    text = Checkpoint(name, size, root, f"2026-01-01T00:00:00.{size % 1000:03d}+00:00", public(size + 1)).text()
    return Sealed.parse(note(text, public(size), key(size).sign(text.encode())))


def limit(seconds: float = PATIENCE) -> Limit:
    return Limit(seconds)


# --- certificates ----------------------------------------------------------------------------------------------------


@dataclass
class Certificate:
    """A certificate with its key, in files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    folder: Path
    name: str

    @property
    def pem(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def secret(self) -> Path:
        return self.folder / f"{self.name}.key"


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def certificate(
    folder: Path,
    name: str,
    by: Certificate | None = None,
    *,
    usage: x509.ObjectIdentifier | None = None,
    begin: datetime | None = None,
    days: float = 30,
    key: ec.EllipticCurvePrivateKey | None = None,
    serial: int | None = None,
) -> Certificate:
    """A new certificate: of an authority, or signed by one for a use."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = begin or datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    # From 3.13 on Python refuses certificates that do not say whose key is whose, and what an authority's is for.
    signer = (key if by is None else by.key).public_key()
    for extension, critical in (
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), False),
        *(((_SIGNS_CERTIFICATES, True),) if by is None else ()),
    ):
        builder = builder.add_extension(extension, critical=critical)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
    made = Certificate(builder.sign(key if by is None else by.key, hashes.SHA256()), key, folder, name)
    made.pem.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
    made.secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


# --- a time-stamp service --------------------------------------------------------------------------------------------

_TSA = """
[tsa]
default_tsa = service
[service]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


class Tsa:
    """Answers questions for a time-stamp, by openssl."""

    def __init__(self, folder: Path, *, begin: datetime | None = None, days: float = 30) -> None:
        folder.mkdir()
        self.folder = folder
        self.authority = certificate(folder, "authority", begin=datetime.now(UTC) - timedelta(days=900), days=2000)
        self.signer = certificate(
            folder, "signer", self.authority, usage=ExtendedKeyUsageOID.TIME_STAMPING, begin=begin, days=days
        )
        (folder / "serial").write_text("01")
        (folder / "tsa.cnf").write_text(_TSA.format(folder=folder))
        self.lock = threading.Lock()

    def answer(self, question: bytes, *words: str) -> bytes:
        with self.lock:
            (self.folder / "question").write_bytes(question)
            signer = ("-signer", str(self.signer.pem), "-inkey", str(self.signer.secret))
            config = ("-config", str(self.folder / "tsa.cnf"))
            command = ["openssl", "ts", "-reply", "-queryfile", str(self.folder / "question"), *signer, *config, *words]
            done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


# --- servers ---------------------------------------------------------------------------------------------------------

Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


def reply(handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/timestamp-reply")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def web(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A web server that answers every POST in a way of the test's choice; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                answer(self, body)
            except OSError:
                self.close_connection = True  # nobody there any more

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    with Server((HOST, 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        yield from _serving(server)


@contextmanager
def proxy(asked: list[str], status: int = 200) -> Iterator[int]:
    """A web proxy that connects whoever says CONNECT, wherever to, with a server on this machine; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            if status != 200:
                return
            with socket.create_connection((HOST, int(self.path.rpartition(":")[2])), timeout=PATIENCE) as there:
                back = threading.Thread(target=_relay, args=(there, self.connection), daemon=True)
                back.start()
                _relay(self.connection, there)
                back.join(PATIENCE)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    with Server((HOST, 0), Handler) as server:
        yield from _serving(server)


def _relay(begin: socket.socket, end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := begin.recv(1 << 16):
            end.sendall(data)
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_WR)


@dataclass
class Mailbox:
    """What a mail server has got, and how it behaves."""

    port: int = 0
    mails: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    greeting: bytes = b"220 mail ESMTP\r\n"
    extensions: tuple[str, ...] = ("8BITMIME",)
    refuse: str = ""
    tls: ssl.SSLContext | None = None
    chatter: bytes = b""
    silent_at_the_end: bool = False


@contextmanager
def mail_server(box: Mailbox) -> Iterator[Mailbox]:
    class Handler(socketserver.StreamRequestHandler):
        timeout = PATIENCE

        def say(self, text: bytes) -> None:
            self.wfile.write(text)
            self.wfile.flush()

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # nobody there any more
                self.talk()

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def talk(self) -> None:
            self.say(box.greeting)
            while box.chatter:
                self.say(box.chatter)
            while raw := self.rfile.readline(2000):
                line = raw.decode().strip()
                box.said.append(line)
                verb = line.upper().partition(" ")[0]
                if verb == "EHLO":
                    lines = ["here", *box.extensions]
                    self.say(
                        "".join(
                            f"250{'-' if n else ' '}{x}\r\n"
                            for n, x in zip(range(len(lines))[::-1], lines, strict=True)
                        ).encode()
                    )
                elif verb == "STARTTLS":
                    assert box.tls is not None
                    self.say(b"220 go\r\n")
                    link = box.tls.wrap_socket(self.request, server_side=True)
                    self.request = link
                    self.rfile, self.wfile = link.makefile("rb"), link.makefile("wb")
                elif verb == "AUTH":
                    box.users.append(base64.b64decode(line.split()[2]).decode())
                    self.say(b"235 welcome\r\n")
                elif verb == "RCPT":
                    if box.refuse and box.refuse in line:
                        self.say(b"550 unknown\x1b[31m user\r\n")
                    else:
                        box.recipients.append(line)
                        self.say(b"250 ok\r\n")
                elif verb == "DATA":
                    self.say(b"354 go\r\n")
                    body = b""
                    while not body.endswith(b"\r\n.\r\n"):
                        body += self.rfile.readline(2000)
                    box.mails.append(body[:-3])
                    self.say(b"250 taken\r\n")
                elif verb == "QUIT":
                    if box.silent_at_the_end:
                        continue
                    self.say(b"221 bye\r\n")
                    return
                else:
                    self.say(b"250 ok\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            pass

    with Server((HOST, 0), Handler) as server:
        box.port = server.server_address[1]
        for _ in _serving(server):
            yield box


def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join(PATIENCE)
