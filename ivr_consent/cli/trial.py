"""``ivr-consent call LINE --draft --phone``: a draft, heard on the administrator's own telephone.

A server of its own, for one call, on a port of its own that only a place of its own in the dialplan asks: no caller can
come to it, and while this does not run that place hangs up. Nothing is logged and nothing is recorded.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ivr_consent.cli.terminal import say
from ivr_consent.core.errors import ConsentError

if TYPE_CHECKING:
    from ivr_consent.core.steps import Result, Step
    from ivr_consent.pbx.serving import Server
    from ivr_consent.site import Site

POLL_S: Final = 0.1
CALL_S: Final = 1800.0
"""However long the notice and however often it is repeated: a trial ends."""


TRIAL: Final = "trial"
_OUTCOMES: Final = {
    "yes_key": "granted",
    "no_key": "declined",
    "no_key_during_notice": "declined",
    "silence": "no_answer",
    "other_key": "invalid",
    "early_key": "invalid",
}


def _outcome(reason: str) -> str:
    """What would have come of the call."""
    return _OUTCOMES.get(reason, "failed")


class _Trial:
    """What is shown of the call, as it goes."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.steps = 0
        self.outcome = ""
        self.reason = ""
        self.heard: list[str] = []

    def observe(self, step: Step, result: Result | None) -> None:
        from ivr_consent.core import steps

        self.steps += 1
        if result is None:
            if isinstance(step, steps.Play):
                self.heard.append(step.prompt.id)
                self._say(f"[{step.prompt.id}] {step.prompt.text}")
            elif isinstance(step, steps.Ask):
                self._say("... the choice window opens")
            elif isinstance(step, steps.Route):
                # The dialplan is told "trial" alone, whatever would have come of it.
                outcome = _outcome(step.reason) if step.outcome == TRIAL else step.outcome
                self.outcome, self.reason = outcome, step.reason
            return
        match result:
            case steps.Pressed():
                self._say(f"    << key {result.key}")
            case steps.TimedOut():
                self._say("    << silence")
            case steps.Gone():
                self.outcome = self.outcome or "abandoned"
                self._say("    << you hung up")
            case steps.Failed():
                self.outcome, self.reason = "failed", result.reason
                self._say(f"    << failed: {result.reason}")

    def _say(self, text: str) -> None:
        if not self.quiet:
            say(text)


def try_on_telephone(site: Site, line: str, wait_s: float, *, quiet: bool) -> dict[str, Any]:
    """Wait for one call and play the draft to it. Raises :class:`ConsentError` when none comes."""
    return asyncio.run(_try(site, line, wait_s, quiet=quiet))


async def _try(site: Site, line: str, wait_s: float, *, quiet: bool) -> dict[str, Any]:
    from ivr_consent.store.ledger import Ledger

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    listen = site.settings.server
    trial = _Trial(quiet=quiet)
    with tempfile.TemporaryDirectory(prefix="ivr-consent-") as aside:
        # A trial decides nothing; only a call that asks for another line is refused, into a log that is thrown away.
        ledger = Ledger(Path(aside) / "log.db", dispatch=lambda calls: _soon(loop, calls))
        server = _server(site)(site, ledger, allow=tuple(listen.allow), max_calls=1, observe=trial.observe)
        try:
            await server.start(listen.listen, listen.draft_port)
            if not quiet:
                say(f"waiting for a call from your telephone, for {wait_s:.0f} s; Ctrl-C ends it. In your dialplan,")
                say("in a context that only your own telephones reach:")
                for text in _way_in(site, line):
                    say(f"    {text}")
            called = await _until(lambda: trial.steps > 0, stop, wait_s)
            if called:
                await _until(lambda: not server.calls, stop, CALL_S)
        finally:
            await server.stop(0.0)
            await asyncio.to_thread(ledger.close)
    if not called and stop.is_set():
        raise ConsentError("broken off before a call came")
    if not called:
        raise ConsentError(
            f"no call came within {wait_s:.0f} s; see that your telephone reaches {_place(site, line)}, "
            f"and that it asks port {listen.draft_port}: ivr-consent dialplan"
        )
    return {"outcome": trial.outcome, "reason": trial.reason, "heard": trial.heard}


def _server(site: Site) -> type[Server]:
    """The server of the configuration's kind of switch."""
    if site.settings.switch == "freeswitch":
        from ivr_consent.pbx.freeswitch.server import Server as FreeSwitchServer

        return FreeSwitchServer
    from ivr_consent.pbx.asterisk.server import Server as AsteriskServer

    return AsteriskServer


def _way_in(site: Site, line: str) -> list[str]:
    """What the administrator writes into the dialplan, once."""
    if site.settings.switch == "asterisk":
        return [f"exten => 9900,1,Gosub(ivr-consent-draft,s,1({line}))"]
    return [
        f'<extension name="{line}, a draft"><condition field="destination_number" expression="^9900$">',
        f'  <action application="transfer" data="{_place(site, line)}"/>',
        "</condition></extension>",
    ]


def _place(site: Site, line: str) -> str:
    """Where in our dialplan a draft is heard."""
    if site.settings.switch == "asterisk":
        return "the context ivr-consent-draft"
    from ivr_consent.pbx.freeswitch import variables

    return f"{variables.extension(line, variables.DRAFT)} XML {variables.CONTEXT}"


def _soon(loop: asyncio.AbstractEventLoop, callbacks: list[Any]) -> None:
    for callback in callbacks:
        loop.call_soon_threadsafe(callback)


async def _until(condition: Any, stop: asyncio.Event, deadline_s: float) -> bool:
    """Whether it came true before the deadline and before we were told to stop."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while not condition():
        if stop.is_set() or loop.time() > end:
            return False
        await asyncio.sleep(POLL_S)
    return True
