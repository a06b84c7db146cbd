"""Sites of a FreeSWITCH for its audit, written in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ivr_consent.config import Settings, parse
from ivr_consent.pbx.audit.findings import Level
from ivr_consent.pbx.audit.report import Report
from ivr_consent.pbx.freeswitch.audit.judge import audit
from ivr_consent.pbx.freeswitch.dialplan import FILE, render

MAIN = """\
<?xml version="1.0"?>
<document type="freeswitch/xml">
  <X-PRE-PROCESS cmd="include" data="vars.xml"/>
  <section name="configuration">
    <X-PRE-PROCESS cmd="include" data="autoload_configs/*.xml"/>
  </section>
  <section name="dialplan">
    <X-PRE-PROCESS cmd="include" data="dialplan/*.xml"/>
  </section>
  <section name="directory">
    <X-PRE-PROCESS cmd="include" data="directory/*.xml"/>
  </section>
</document>
"""

PROFILE = """\
<configuration name="sofia.conf">
<profiles><profile name="external"><settings>
<param name="dialplan" value="XML"/>
<param name="context" value="public"/>
</settings></profile></profiles>
</configuration>
"""

LINES: dict[str, Any] = {"support": {"recorded": "support_recorded XML queues", "unrecorded": "support XML queues"}}

QUEUES = """\
<context name="queues">
<extension name="q"><condition field="destination_number" expression="^support(_recorded)?$">
<action application="bridge" data="user/1000"/>
</condition></extension>
</context>
"""


def settings(lines: dict[str, Any] | None = None, **more: Any) -> Settings:
    """A configuration with lines."""
    written = {
        "switch": "freeswitch",
        "event_socket": {"password_file": "/event_socket.password"},
        "lines": LINES if lines is None else lines,
        **more,
    }
    return parse(written, Path("/x.toml"), "")


def extension(inside: str, destination: str = "^100$") -> str:
    """An extension for a destination; its actions begin in its second line."""
    return (
        f'<extension name="e"><condition field="destination_number" expression="{destination}">\n'
        f"{inside}\n</condition></extension>\n"
    )


def action(application: str, data: str = "", tag: str = "action") -> str:
    """An action in a line of its own."""
    written = data.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'<{tag} application="{application}" data="{written}"/>'


def public(*actions: tuple[str, str]) -> str:
    """The context that calls come into, with one extension; its first action is in line 3."""
    inside = "\n".join(action(application, data) for application, data in actions)
    return f'<context name="public">\n{extension(inside)}</context>\n'


def site(tmp_path: Path, dialplan: str = "", config: Settings | None = None, /, **files: str) -> Path:
    """A site: ``conference="..."`` is autoload_configs/conference.conf.xml; the gate and its destinations are there."""
    folder = tmp_path / "site"
    for name in ("dialplan", "autoload_configs", "directory"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "freeswitch.xml").write_text(MAIN)
    (folder / "vars.xml").write_text("")
    (folder / "dialplan" / FILE).write_text(render(config or settings()))
    (folder / "dialplan" / "queues.xml").write_text(QUEUES)
    (folder / "dialplan" / "public.xml").write_text(dialplan)
    (folder / "autoload_configs" / "sofia.conf.xml").write_text(PROFILE)
    for name, text in files.items():
        place = folder / "vars.xml" if name == "vars" else folder / "autoload_configs" / f"{name}.conf.xml"
        (folder / "directory" / "default.xml" if name == "directory" else place).write_text(text)
    return folder


def found(report: Report, *levels: Level) -> list[tuple[str, int, str]]:
    """Level, line and rule of each finding, of some levels."""
    return [
        (finding.level.value, finding.place.line, finding.rule.value)
        for finding in report.findings
        if not levels or finding.level in levels
    ]


def judged(tmp_path: Path, dialplan: str, **files: str) -> list[tuple[str, int, str]]:
    """What the audit says of a site, but for notes."""
    return found(audit([site(tmp_path, dialplan, **files)]), Level.ERROR, Level.UNKNOWN, Level.WARNING)
