"""pyst2's AGI on the strict wire, against a fake Asterisk at the other end of two pipes."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from asterisk.agi import (
    AGIAppError,
    AGIDBError,
    AGIHangup,
    AGIInvalidCommand,
    AGIResultHangup,
    AGISIGHUPHangup,
    AGISIGPIPEHangup,
    AGIUsageError,
)

from ivr_consent.pbx.asterisk.hardened import (
    AGIDeadChannel,
    AGIReplyTimeout,
    AGIStreamBroken,
    AGIUnsafeCommand,
    Result,
    ScriptAGI,
)

PATIENCE = 30.0  # seconds; a bound for what should take milliseconds
CALLER = "+49301234567"
ENVIRONMENT = f"""agi_request: consent.py
agi_channel: PJSIP/peer-00000015
agi_language: en
agi_type: PJSIP
agi_uniqueid: 1795302577.51
agi_version: 22.10.1
agi_callerid: {CALLER}
agi_calleridname: Zo\xeb
agi_callingpres: 0
agi_callingani2: 0
agi_callington: 0
agi_callingtns: 0
agi_dnid: 100
agi_rdnis: unknown
agi_context: agi
agi_extension: 100
agi_priority: 2
agi_enhanced: 0.0
agi_accountcode:\x20
agi_threadid: 140601890174656

""".encode("latin-1")  # not UTF-8: Asterisk passes on what the phone sent

Replies = list[bytes | None]  # one for each command; None closes Asterisk's side, after the reply before it


class FakeAsterisk:
    """Writes the environment, then for each command that comes the next of its replies; then closes."""

    def __init__(self, replies: Replies, environment: bytes = ENVIRONMENT) -> None:
        self.commands: list[str] = []
        self.script_in, self._out = os.pipe()
        self._in, self.script_out = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(replies, environment), daemon=True)
        self._thread.start()

    def _run(self, replies: Replies, environment: bytes) -> None:
        with os.fdopen(self._in, "rb") as commands, os.fdopen(self._out, "wb", buffering=0) as answers:
            answers.write(environment)
            for reply in replies:
                if reply is None and self.commands:
                    return
                line = commands.readline()
                if not line:
                    return
                self.commands.append(line.decode("utf-8", "surrogateescape").rstrip("\n"))
                if reply is None:
                    return
                answers.write(reply)
            self.commands += [line.decode().rstrip("\n") for line in commands]

    def join(self) -> list[str]:
        """Close the script's side and return all that it sent."""
        self.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.commands

    def close(self) -> None:
        for fd in (self.script_in, self.script_out):
            if fd >= 0:
                os.close(fd)
        self.script_in = self.script_out = -1


@contextmanager
def call(*replies: bytes | None, deadline: float = PATIENCE) -> Iterator[tuple[FakeAsterisk, ScriptAGI]]:
    with ExitStack() as stack:
        fake = FakeAsterisk(list(replies))
        stack.callback(fake.join)
        agi = ScriptAGI(fake.script_in, fake.script_out, deadline=deadline)
        stack.callback(agi.close)
        yield fake, agi


OK = b"200 result=0\n"


def twice(agi: ScriptAGI) -> None:
    """Two commands: a reply too many is noticed before the second is sent."""
    agi.noop()
    agi.noop()


def test_the_environment() -> None:
    with call() as (_, agi):
        assert agi.env["agi_channel"] == "PJSIP/peer-00000015"
        assert agi.env["agi_calleridname"].encode("utf-8", "surrogateescape") == b"Zo\xeb"
        assert agi.environment.caller_number == CALLER


def test_the_convenience_methods_write_what_they_mean() -> None:
    steps: list[tuple[bytes, Callable[[ScriptAGI], object], str, object]] = [
        (OK, lambda agi: agi.answer(), "ANSWER", None),
        (b"200 result=0 endpos=24000\n", lambda agi: agi.stream_file("notice/en"), 'STREAM FILE "notice/en" "" 0', ""),
        (b"200 result=49 endpos=8\n", lambda agi: agi.stream_file("a b", [1, "2"]), 'STREAM FILE "a b" "12" 0', "1"),
        (b"200 result=49\n", lambda agi: agi.wait_for_digit(3000), "WAIT FOR DIGIT 3000", "1"),
        (OK, lambda agi: agi.wait_for_digit(1), "WAIT FOR DIGIT 1", ""),
        (b"200 result=1 (yes)\n", lambda agi: agi.get_variable("X"), 'GET VARIABLE "X"', "yes"),
        (OK, lambda agi: agi.get_variable("X"), 'GET VARIABLE "X"', ""),
        (b"200 result=1\n", lambda agi: agi.set_variable("X", 1), 'SET VARIABLE "X" "1"', None),
        (b"200 result= (timeout)\n", lambda agi: agi.get_data("beep", 700, 2), 'GET DATA "beep" 700 2', ""),
        (b"200 result=6\n", lambda agi: agi.channel_status(), "CHANNEL STATUS", 6),
        (b"200 result=1\n", lambda agi: agi.hangup(), "HANGUP", None),
        (OK, lambda agi: agi.appexec("Dial", "PJSIP/a,20"), 'EXEC "Dial" "PJSIP/a,20"', "0"),
        (OK, lambda agi: agi.say_datetime(1, "", "", "Europe/Berlin"), 'SAY DATETIME 1 "" "" "Europe/Berlin"', ""),
        (OK, lambda agi: agi.say_datetime(1), 'SAY DATETIME 1 ""', ""),
        (b"200 result=1\n", lambda agi: agi.set_priority(3), "set priority 3", None),
        (b"200 result=1 (v)\n", lambda agi: agi.database_get("f", "k"), 'DATABASE GET "f" "k"', "v"),
        (OK, lambda agi: agi.verbose("hello", 3), 'VERBOSE "hello" 3', None),
    ]
    with call(*[reply for reply, _, _, _ in steps]) as (fake, agi):
        for _, method, _, expected in steps:
            assert method(agi) == expected
        assert fake.join() == [command for _, _, command, _ in steps]


def test_the_whole_reply() -> None:
    with call(b"200 result=0 endpos=24000\n") as (_, agi):
        assert agi.execute("STREAM FILE", "x", "") == {"result": ("0", ""), "endpos": ("24000", "")}


def test_exec_command_joins_its_arguments() -> None:
    with call(OK) as (fake, agi):
        agi.exec_command("MixMonitor", "a.wav", "b")
        assert fake.join() == ['EXEC "MixMonitor" "a.wav,b"']


# -- what is sent


def test_quotes_and_backslashes_are_escaped() -> None:
    with call(OK, OK) as (fake, agi):
        agi.set_variable("X", 'say "hi" \\ bye')
        agi.stream_file('x" "1')
        assert fake.join() == ['SET VARIABLE "X" "say \\"hi\\" \\\\ bye"', 'STREAM FILE "x\\" \\"1" "" 0']


@pytest.mark.parametrize("mark", ["\n", "\r", "\0", "\r\n"])
def test_no_line_break_goes_out(mark: str) -> None:
    attack = f'x"{mark}EXEC MixMonitor a.wav'
    attempts: list[Callable[[ScriptAGI], object]] = [
        lambda agi: agi.set_variable("X", attack),
        lambda agi: agi.stream_file(attack),
        lambda agi: agi.set_context(attack),
        lambda agi: agi.exec_command("NoOp", attack),
        lambda agi: agi.exec_command(attack),
        lambda agi: agi.execute(attack),
        lambda agi: agi.send_command(f"NOOP{mark}ANSWER"),
    ]
    with call(OK) as (fake, agi):
        for attempt in attempts:
            with pytest.raises(AGIUnsafeCommand):
                attempt(agi)
        agi.noop()  # nothing was sent and the session lives
        assert fake.join() == ["NOOP"]


def test_a_command_too_long_is_refused() -> None:
    with call(OK) as (fake, agi):
        with pytest.raises(AGIUnsafeCommand):
            agi.set_variable("X", "x" * 1000)
        agi.noop()
        assert fake.join() == ["NOOP"]


# -- hang-ups and ends


def test_hangup_comes_beside_the_reply() -> None:
    with call(b"HANGUP\n200 result=-1 endpos=8160\n", OK) as (fake, agi):
        with pytest.raises(AGIHangup):
            agi.stream_file("x")
        with pytest.raises(AGIHangup):
            agi.answer()
        assert fake.join() == ['STREAM FILE "x" "" 0']


def test_hangup_between_two_commands_takes_no_reply_away() -> None:
    with call(b"200 result=49\nHANGUP\n", b"511 Command Not Permitted on a dead channel\n") as (_, agi):
        assert agi.wait_for_digit(1000) == "1"
        with pytest.raises(AGIHangup):
            agi.set_variable("X", "1")


def test_hangup_without_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr_consent.pbx.asterisk.hardened.AFTER_HANGUP", 0.05)
    with call(b"HANGUP\n") as (_, agi), pytest.raises(AGIHangup):
        agi.answer()


@pytest.mark.parametrize("reply", [None, b"", b"200 resu", b"520-Invalid command syntax.  Proper usage follows:\nx\n"])
def test_end_of_input_is_a_hangup(reply: bytes | None) -> None:
    with call(reply, None) as (_, agi):
        for _attempt in range(2):
            with pytest.raises(AGIHangup):
                agi.answer()


@pytest.mark.parametrize("environment", [b"", b"agi_request: x\n", b"agi_request: x\nagi_chan"])
def test_end_of_input_in_the_environment_is_a_hangup(environment: bytes) -> None:
    fake = FakeAsterisk([], environment)
    os.close(fake.script_out)
    fake.script_out = -1
    with pytest.raises(AGIHangup):
        ScriptAGI(fake.script_in, 1)
    fake.join()


def test_511_is_a_hangup() -> None:
    with (
        call(b"511 Command Not Permitted on a dead channel or intercept routine\n") as (_, agi),
        pytest.raises(AGIDeadChannel) as refused,
    ):
        agi.answer()
    assert isinstance(refused.value, AGIHangup)


def test_asterisk_reads_no_more() -> None:
    fake = FakeAsterisk([])
    agi = ScriptAGI(fake.script_in, fake.script_out)
    reader, writer = os.pipe()
    os.close(reader)
    agi._out = writer
    with pytest.raises(AGISIGPIPEHangup):
        agi.answer()
    with pytest.raises(AGIHangup):
        agi.answer()
    os.close(writer)
    agi.close()
    fake.join()


def test_a_value_that_reads_hangup_is_a_value() -> None:
    value = b"200 result=1 (hangup)\n"
    with call(value, value, b"200 result=-1 (hangup)\n") as (_, agi):
        assert agi.get_variable("CALLERID(name)") == "hangup"
        assert agi.database_get("callers", "name") == "hangup"
        with pytest.raises(AGIResultHangup):
            agi.receive_char(1000)


def test_minus_one_is_an_error() -> None:
    with call(b"200 result=-1\n") as (_, agi), pytest.raises(AGIAppError):
        agi.set_variable("X", "1")


# -- other replies


def test_510() -> None:
    with call(b"510 Invalid or unknown command\n", OK) as (_, agi):
        with pytest.raises(AGIInvalidCommand):
            agi.execute("NONSENSE")
        agi.noop()


def test_520_in_both_forms() -> None:
    usage = b"520-Invalid command syntax.  Proper usage follows:\nUsage: ANSWER\n\tAnswers.\n520 End of proper usage.\n"
    with call(usage, b"520 Invalid command syntax.  Proper usage not available.\n", OK) as (_, agi):
        with pytest.raises(AGIUsageError, match="Answers"):
            agi.execute("ANSWER", 1)
        with pytest.raises(AGIUsageError, match="not available"):
            agi.execute("ANSWER", 1)
        agi.noop()  # in step


@pytest.mark.parametrize(
    "reply",
    [
        b"520-Invalid command syntax.  Proper usage follows:\n" + b"x\n" * 10_000,
        b"200 result=" + b"1" * 10_000,
        b"1\n",
        b"what?\n",
        b"200 result=0\n200 result=49\n",
    ],
)
def test_what_asterisk_would_not_send_ends_the_session(reply: bytes) -> None:
    with call(reply, OK) as (fake, agi):
        with pytest.raises(AGIStreamBroken):
            twice(agi)
        with pytest.raises(AGIStreamBroken):
            agi.answer()
        assert fake.join() == ["NOOP"]


def test_a_forged_environment_is_refused() -> None:
    forged = ENVIRONMENT.replace(CALLER.encode(), b"55\n\n200 result=0\n200 result=49")
    fake = FakeAsterisk([], forged)
    with pytest.raises(AGIStreamBroken) as broken:
        ScriptAGI(fake.script_in, fake.script_out)
    assert "55" not in str(broken.value)
    fake.join()


# -- deadlines


def test_a_reply_has_a_deadline() -> None:
    with call(b"", OK, deadline=0.05) as (fake, agi):
        began = time.monotonic()
        fake_is_silent = fake.script_in
        reader, writer = os.pipe()  # nobody writes here
        agi._in = reader
        with pytest.raises(AGIReplyTimeout):
            agi.noop()
        agi._in = fake_is_silent
        with pytest.raises(AGIReplyTimeout):  # a late reply would answer the next command
            agi.answer()
        assert time.monotonic() - began < PATIENCE
        os.close(reader)
        os.close(writer)
        assert fake.join() == ["NOOP"]


def test_the_environment_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr_consent.pbx.asterisk.hardened.ENVIRONMENT_DEADLINE", 0.05)
    reader, writer = os.pipe()
    os.write(writer, b"agi_request: x\n")
    with pytest.raises(AGIReplyTimeout):
        ScriptAGI(reader, writer)
    os.close(reader)
    os.close(writer)


def test_a_commands_own_timeout_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    with call(OK, deadline=100.0) as (_, agi):
        real = agi._result

        def result(until: float) -> Result:
            seen.append(until - time.monotonic())
            return real(until)

        monkeypatch.setattr(agi, "_result", result)
        agi.wait_for_digit(50_000)
    assert seen == [pytest.approx(150.0, abs=5.0)]


# -- signals and output


def test_sighup_is_a_hangup_and_is_given_back() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with call(OK, OK) as (fake, agi):
        agi.noop()
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(AGISIGHUPHangup):
            agi.noop()
        assert fake.join() == ["NOOP"]
    assert signal.getsignal(signal.SIGHUP) is before


def test_outside_the_main_thread() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with call(OK) as (_, agi):
                agi.answer()
        except BaseException as error:  # noqa: BLE001  # handed to the test
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert errors == []


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with call(OK, b"200 result=1 (secret)\n") as (_, agi):
        agi.answer()
        agi.get_variable("X")
    assert capfd.readouterr() == ("", "")


def test_files_are_taken_by_their_descriptors() -> None:
    fake = FakeAsterisk([OK])
    with (
        os.fdopen(os.dup(fake.script_in), "rb") as stdin,
        os.fdopen(os.dup(fake.script_out), "wb") as stdout,
    ):
        agi = ScriptAGI(stdin, stdout)
        agi.noop()
        agi.close()
    with pytest.raises(io.UnsupportedOperation):
        ScriptAGI(io.BytesIO(ENVIRONMENT), 1)
    assert fake.join() == ["NOOP"]


def test_a_key_that_is_not_in_the_database() -> None:
    with call(OK) as (_, agi), pytest.raises(AGIDBError):
        agi.database_get("family", "key")
