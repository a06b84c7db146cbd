"""ivr-consent log receipt: a signed file that shows a caller's consent without the log."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import SignatureError
from ivr_consent.pseudonyms import check_digit
from ivr_consent.receipt import checked
from ivr_consent.signing import sealed, signer, verifier
from ivr_consent.verifier import Checkpoint, Event, Tree, commitment, leaf, leaf_hash, node_hash
from tests.cli.support import Place, run, run_json
from tests.tools import need


@pytest.fixture
def granted(ready: Place) -> Place:
    """A log with two grants and a refusal; closing it seals it."""
    for keys in ("1", "1", "2"):
        assert run("--config", ready.config, "call", "support", "--keys", keys).exit_code == 0
    seal(ready)
    return ready


def seal(place: Place) -> None:
    code, document = run_json("--config", place.config, "log", "checkpoint", "--seal")
    assert code == 0, document


def calls(place: Place) -> list[str]:
    return [call["call_id"] for call in run_json("--config", place.config, "log", "list")[1]["calls"]]


def written(place: Place, *arguments: str) -> tuple[dict[str, Any], Path]:
    out = place.root / f"receipt-{len(list(place.root.glob('receipt-*')))}"
    code, document = run_json("--config", place.config, "log", "receipt", *arguments, "--out", str(out))
    assert code == 0, document
    found = document["receipt"]
    assert isinstance(found, dict)
    return found, out


def test_a_receipt_says_what_was_consented_to_and_verifies(granted: Place) -> None:
    """R22, GDPR 7(1): who, what for, how long, in which words; the code has its check digit."""
    call_id = calls(granted)[1]
    document, out = written(granted, call_id)
    assert document["call_id"] == call_id
    assert document["purposes"] == ["training"]
    assert document["retention_days"] == 30
    assert len(document["reference"]) == 10
    assert check_digit(document["reference"][:9]) == document["reference"][9]
    text = " ".join(prompt["text"] for prompt in document["notice"]["text"])
    assert "for 30 days" in text
    assert "Do you consent to the recording of this call for staff training?" in text
    shown = run("--config", granted.config, "log", "check-receipt", str(out))
    assert shown.exit_code == 0
    assert shown.stdout.startswith("the receipt is good")
    key = granted.etc / "notices.key.pub"
    assert run("log", "check-receipt", str(out), "--key", str(key)).exit_code == 0, "without a configuration too"


def test_it_is_found_by_its_code(granted: Place) -> None:
    """The log holds the code's keyed hash alone."""
    code = written(granted, calls(granted)[1])[0]["reference"]
    other = written(granted, calls(granted)[2])[0]["reference"]
    assert code != other
    assert written(granted, "--reference", f"{code[:5]} {code[5:]}")[0]["call_id"] == calls(granted)[1]
    raw = granted.log.read_bytes() + granted.log.with_name(f"{granted.log.name}-wal").read_bytes()
    assert code.encode() not in raw
    swapped = code[:8] + code[9] + code[8] if code[8] != code[9] else code[:9] + str((int(code[9]) + 1) % 10)
    refused = run("--config", granted.config, "log", "receipt", "--reference", swapped)
    assert refused.exit_code == 1
    assert "check digit" in refused.output


def test_who_said_no_has_none(granted: Place) -> None:
    refused = run("--config", granted.config, "log", "receipt", calls(granted)[0])
    assert refused.exit_code == 1
    assert "did not consent (declined)" in refused.output


def test_nothing_is_overwritten(granted: Place) -> None:
    _, out = written(granted, calls(granted)[1])
    before = out.read_bytes()
    again = run("--config", granted.config, "log", "receipt", calls(granted)[2], "--out", str(out))
    assert again.exit_code == 1
    assert out.read_bytes() == before


def test_before_a_checkpoint(granted: Place) -> None:
    """It says so, and how one is made."""
    assert run("--config", granted.config, "call", "support", "--keys", "1").exit_code == 0
    refused = run("--config", granted.config, "log", "receipt", calls(granted)[0])
    assert refused.exit_code == 5
    assert "--seal" in refused.output


def test_openssl_agrees(granted: Place, tmp_path: Path) -> None:
    """The signature is one that others can check."""
    need("openssl")
    _, out = written(granted, calls(granted)[1])
    data, _, coded = out.read_bytes().rstrip(b"\n").partition(b"\t")
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "signature").write_bytes(base64.b64decode(coded))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(granted.etc / "notices.key.pub"), "-rawin"]
    command += ["-in", str(tmp_path / "data"), "-sigfile", str(tmp_path / "signature")]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_a_byte_that_was_changed(granted: Place) -> None:
    """Each of them, anywhere in the file."""
    _, out = written(granted, calls(granted)[1])
    line, by = out.read_bytes(), verifier(granted.etc / "notices.key")
    checked(line, by)
    for at in range(0, len(line), max(1, len(line) // 300)):
        with pytest.raises(SignatureError):
            checked(line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :], by)
        with pytest.raises(SignatureError):
            checked(line[:at], by)


def other_purpose(document: dict[str, Any]) -> None:
    document["purposes"] = ["quality"]


def longer(document: dict[str, Any]) -> None:
    document["retention_days"] = 3650


def other_notice(document: dict[str, Any]) -> None:
    document["notice"]["version"] += 1


def other_payload(document: dict[str, Any]) -> None:
    payload = json.loads(document["event"]["payload"]) | {"retention_days": 3650}
    document["event"]["payload"] = canonical(payload).decode()
    document["retention_days"] = 3650


def other_path(document: dict[str, Any]) -> None:
    document["proof"]["path"][0] = "00" * 32


def no_event(document: dict[str, Any]) -> None:
    document["event"] = None


def newer(document: dict[str, Any]) -> None:
    document["receipt"] = 2


@pytest.mark.parametrize("change", [other_purpose, longer, other_notice, other_payload, other_path, no_event, newer])
def test_a_receipt_that_its_own_site_made_up(granted: Place, change: Callable[[dict[str, Any]], None]) -> None:
    """Signed with the right key: what it says must still be what the decision says, and the decision in the tree."""
    document, _ = written(granted, calls(granted)[1])
    key = granted.etc / "notices.key"
    change(document)
    with pytest.raises(SignatureError):
        checked(sealed(document, signer(key)), verifier(key))


def test_the_hashes_are_those_of_the_log() -> None:
    """A tree of two by hand: what the proof is checked with is RFC 9162's."""
    first = Event(1, "t", "a", None, None, None, b"{}", commitment(b"s" * 32, b"{}"), bytes(32))
    second = Event(2, "t", "b", "c", "l", None, b"{}", None, leaf_hash(leaf(first)))
    tree = Tree()
    tree.append(leaf_hash(leaf(first)))
    tree.append(leaf_hash(leaf(second)))
    assert tree.root() == node_hash(second.previous, leaf_hash(leaf(second)))
    assert Checkpoint._fields[:3] == ("origin", "size", "root")
