"""Where a chain in PostgreSQL is: what is said of it, and whose processes may share it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ivr_consent.store.address import Address, proves_itself, shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u@h/d?sslmode=verify-full", "postgresql://u@h/d"),
        ("postgresql://u:secret@h:5433,h2/d", "postgresql://u@h:5433,h2/d"),
        ("postgresql://u@/d?host=/run/pg&password=secret", "postgresql://u@/d?host=/run/pg"),
        ("postgresql://u:se/cret@h/d", "postgresql://..."),
        ("postgresql://[u:secret@h/d", "postgresql://..."),
        ("postgresql://u@h/d\x1b[31m", "postgresql://u@h/d?[31m"),
    ],
)
def test_a_url_is_shown_without_what_is_nobodys_business(url: str, said: str) -> None:
    assert shown(url) == said


@pytest.mark.parametrize(
    ("url", "proven"),
    [
        ("postgresql:///d", True),
        ("postgresql://u@/d?host=/run/postgresql", True),
        ("postgresql://u@%2Frun%2Fpostgresql/d", True),
        ("postgresql://u@localhost/d", True),
        ("postgresql://u@127.0.0.1:5433/d", True),
        ("postgresql://u@[::1]/d", True),
        ("postgresql://u@[::1]:5433/d", True),
        ("postgresql://u@db.example.org/d", False),
        ("postgresql://u@localhost,db.example.org/d", False),
        ("postgresql://u@/d?host=db.example.org", False),
        ("postgresql://u@db.example.org/d?sslmode=require", False),
        ("postgresql://u@db.example.org/d?sslmode=verify-full", True),
        ("postgresql://u@db.example.org/d?sslmode=verify-ca", True),
    ],
)
def test_a_server_elsewhere_has_to_prove_who_it_is(url: str, proven: bool) -> None:
    """Who stands in its place says that a decision is on disk, and there is no disk."""
    assert proves_itself(url) is proven


def test_what_writers_call_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for all processes of one machine and folder; another one for a copy of the folder or of the machine."""
    folder = tmp_path / "state"
    folder.mkdir()
    address = Address("postgresql:///d", "x" * 40)
    name = address.application(folder / "pbx1.key")
    assert len(name) == 63  # more is cut off by the server
    assert address.application(folder / "pbx1.key") == name
    assert address.application(folder / "pbx2.key") != name
    shutil.copytree(folder, tmp_path / "copy")
    assert address.application(tmp_path / "copy" / "pbx1.key") != name
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: "another boot" if path.name == "boot_id" else read(path))
    assert address.application(folder / "pbx1.key") != name
