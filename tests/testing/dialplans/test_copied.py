"""The copy of a site's files: nothing of it dials out, runs a program, or writes outside of the rig."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.pbx.asterisk.audit import judge
from ivr_consent.pbx.asterisk.audit.site import survey
from ivr_consent.pbx.asterisk.dialplan import INCLUDE_FILE
from ivr_consent.pbx.audit.findings import Place
from ivr_consent.site import shipped
from ivr_consent.testing.dialplans import copied

SITES = Path(__file__).parents[2] / "data/dialplans"
ENDS = copied.Ends("agi://127.0.0.1:1/", Path("/rig/recordings"), Path("/rig/files"))


def line(text: str) -> tuple[str, int]:
    """A line as it stands in the copy, and how many were cut off."""
    copy = copied.SiteCopy()
    copier = copied._Copier(copied.library_of(SITES / "shop"), ENDS, copy)
    return copier.line(text, Place("extensions.conf", 1)), len(copy.cuts)


@pytest.mark.parametrize(
    ("written", "wanted", "cut"),
    [
        (" same => n,System(/bin/rm -rf /srv)", " same => n,NoOp(/rig/files/bin/rm -rf /srv)", 1),
        (" same => n,TrySystem(date)", " same => n,NoOp(date)", 1),
        (" same => n,AGI(lookup.py,1)", " same => n,NoOp(lookup.py,1)", 1),
        (" same => n,agi (lookup.py)", " same => n,NoOp (lookup.py)", 1),
        (" same => n,AGI(agi://10.0.0.9/consents,1)", " same => n,NoOp(agi://10.0.0.9/consents,1)", 1),
        (" same => n,ExecIf($[1]?EAGI(x):System(y))", " same => n,ExecIf($[1]?NoOp(x):NoOp(y))", 1),
        (" same => n,Set(X=${SHELL(id)})", " same => n,Set(X=${SHELL(id)})", 1),
        (" same => n,AGI(agi://127.0.0.1:4573/consent,${line},${number})",
         " same => n,AGI(agi://127.0.0.1:1/consent,${line},${number})", 0),
        (" same => n,AGI(/usr/bin/ivr-consent-agi,--ended,${ID},--config=/etc/ivr-consent.toml)",
         " same => n,AGI(agi://127.0.0.1:1/ended,${ID})", 0),
        (" same => n,AGI(/usr/bin/ivr-consent-agi,${line},${number})",
         " same => n,AGI(agi://127.0.0.1:1/consent,${line},${number})", 0),
        (" same => n,Set(FILE(/var/lib/ivr-consent/recordings/${id}.withdrawn)=caller)",
         " same => n,Set(FILE(/rig/recordings/${id}.withdrawn)=caller)", 0),
        (" same => n,MixMonitor(/var/x/${ID}.wav,b)", " same => n,MixMonitor(/rig/files/var/x/${ID}.wav,b)", 0),
        ("TAPES = /var/spool/x", "TAPES = /rig/files/var/spool/x", 0),
        ("TAPES=>/var/spool/x", "TAPES=>/rig/files/var/spool/x", 0),
        (" same => n,Set(X=$[${A} / 2])", " same => n,Set(X=$[${A} / 2])", 0),
        (" same => n,Dial(SIP/101&PJSIP/102&IAX2/trunk/1)", " same => n,Dial(PJSIP/101&PJSIP/102&IAX2/trunk/1)", 0),
        ("exten => _X./4512,1,NoOp(a)", "exten => _X./4512,1,NoOp(a)", 0),
        ("; System(x)", "; System(x)", 0),
    ],
)  # fmt: skip  # a row each
def test_a_line_in_the_copy(written: str, wanted: str, cut: int) -> None:
    assert line(written) == (wanted, cut)


def test_the_gate_stays_as_it_is_but_for_its_addresses() -> None:
    text = (shipped("dialplan") / INCLUDE_FILE).read_text()
    for one in text.splitlines():
        done, cut = line(one)
        assert cut == 0
        assert "NoOp" not in done or "NoOp" in one
        assert "4573" not in done
        assert "/var/lib/ivr-consent" not in done or done.startswith(";")


def test_what_a_site_includes_comes_along_and_its_secrets_do_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside.conf"
    outside.write_text("[outside]\nexten => s,1,Hangup()\n")
    site = tmp_path / "asterisk"
    (site / "parts").mkdir(parents=True)
    for name in ("a", "b"):
        (site / f"parts/{name}.conf").write_text(f"[{name}]\nexten => s,1,Hangup()\n")
    (site / "extensions.conf").write_text(
        f'#include "parts/*.conf"\n#include "/etc/asterisk/parts/a.conf"\n#include {outside}\n#exec /bin/date\n'
        "[c]\nexten => s,1,Hangup()\n"
    )
    (site / "pjsip.conf").write_text("[trunk]\ntype=auth\npassword=secret\n")
    (site / "manager.conf").write_text("[admin]\nsecret=secret\n")
    copy = copied.copied(copied.library_of(site), ENDS, copied.DIALPLAN_FILES)
    others = copied.copied(copied.library_of(site), ENDS, copied.OTHER_FILES)
    moved = f"elsewhere/{str(outside).strip('/').replace('/', '--')}"
    assert set(copy.files) == {"site-extensions.conf", "parts/a.conf", "parts/b.conf", moved}
    assert copy.files["site-extensions.conf"].splitlines()[:5] == [
        '#include "parts/a.conf"', '#include "parts/b.conf"', '#include "parts/a.conf"', f'#include "{moved}"', "[c]",
    ]  # fmt: skip  # a line each
    assert [cut.place.line for cut in copy.cuts] == [4]
    assert "secret" not in "".join((copy.files | others.files).values())


def test_telephones_register_and_trunks_do_not() -> None:
    assert copied.telephones(copied.library_of(SITES / "shop")) == ["100", "101"]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("pjsip.conf", "[a]\ntype=endpoint\naors=a\n[a]\ntype=aor\ncontact=sip:10.0.0.1\n", []),
        ("pjsip.conf", "[a]\ntype=endpoint\naors=a\n[a]\ntype=aor\n[r]\ntype=registration\nendpoint=a\n", []),
        ("pjsip.conf", "[a]\ntype=endpoint\naors=a\n[a]\ntype=aor\n[i]\ntype=identify\nendpoint=a\n", []),
        ("pjsip.conf", "[phone]\ntype=endpoint\naors=phone\n[phone]\ntype=aor\n", []),
        ("pjsip.conf", "[a]\ntype=endpoint\naors=a\n[a]\ntype=aor\nmax_contacts=1\n", ["a"]),
        ("pjsip_wizard.conf", "[a]\ntype=wizard\naccepts_registrations=yes\n[b]\ntype=wizard\n", ["a"]),
        ("sip.conf", "[a]\ntype=friend\nhost=dynamic\n[b]\ntype=peer\nhost=10.0.0.1\n", ["a"]),
    ],
)  # fmt: skip  # a row each
def test_who_is_a_telephone(tmp_path: Path, name: str, text: str, found: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert copied.telephones(copied.library_of(tmp_path)) == found


def test_prompts_that_a_menu_needs_are_known() -> None:
    library = copied.library_of(SITES / "shop")
    dialplan, _ = judge.load(library, survey(library))
    assert set(copied.sounds(dialplan)) == {"closed", "orders-menu"}
