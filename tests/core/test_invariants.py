"""The invariants I1 to I4, over every caller, every failure, and every nonsense a switch could answer.

The judge here knows nothing of the flow's own state: it reads only which steps were asked for and what came back.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ivr_consent.config import Line
from ivr_consent.core import flow as flow_module
from ivr_consent.core.decision import CallContext, Decision, Grant, Outcome
from ivr_consent.core.flow import Ending, Plan, SpokenNotice, consent_flow, refusal_flow
from ivr_consent.core.states import TRANSITIONS, Event, State, advance
from ivr_consent.core.steps import (
    Answer,
    Answered,
    Ask,
    Decide,
    Destination,
    Failed,
    Gone,
    Granted,
    Logged,
    NotConfirmed,
    Note,
    Play,
    Played,
    Pressed,
    Prompt,
    Record,
    Recording,
    Result,
    Route,
    Routed,
    Step,
    Stopped,
    StopRecording,
    TimedOut,
    Timing,
)
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.plans import call_context, plan_without_audio, short_plan
from tests.core.depth import choice_is_over, comes_to_its_end, graph, paths

HEALTH = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
CALL = call_context("c" * 32)
OTHER_CALL = call_context("d" * 32)
MAX_STEPS = 400
"""The longest call of these plans has some 150 steps; more is a flow that goes round in circles."""

Grants = Mapping[tuple[str, ...], Grant]
PURPOSES: tuple[tuple[str, ...], ...] = (("training",), ("quality",), ("training", "quality"))


@pytest.fixture(scope="module")
def grants(tmp_path_factory: pytest.TempPathFactory) -> Grants:
    """Real Grants of the call, one for each set of purposes; under ``()`` one of another call."""
    directory = tmp_path_factory.mktemp("logs")
    made = {purposes: _grant(directory / "-".join(purposes), CALL, purposes) for purposes in PURPOSES}
    return made | {(): _grant(directory / "other", OTHER_CALL, ("training",))}


def _grant(path: Path, call: CallContext, purposes: tuple[str, ...]) -> Grant:
    decision = Decision(
        call, Outcome.GRANTED, "yes_key", "recorded", None, (), purposes, 30, 0, ("en",), recording_id=call.call_id
    )
    ledger = Ledger(path)
    try:
        written = ledger.decide_now(decision, 20.0)
    finally:
        ledger.close()
    assert isinstance(written, Granted)
    return written.grant


# --- what may come back -----------------------------------------------------------------------------------------------


def sensible(step: Step, grants: Grants) -> list[Result]:
    """What a switch, a caller and a disk can do at a step; the first is what lets the call go on."""
    match step:
        case Answer():
            return [Answered(), Gone(), Failed("not_answered")]
        case Play():
            whole = max(step.prompt.lengths)
            keys = [Pressed(key, whole // 2) for key in sorted(step.keys)]
            cut = [Played(0, 0), Played(whole // 4, 250)]
            return [Played(whole, 1000), *keys, *cut, Gone(whole // 3), Failed("prompt_missing")]
        case Ask():
            held = [Pressed(key, 0, -200, Timing.VIRTUAL) for key in "12"]
            keys = [Pressed(key, 0, 500, Timing.VIRTUAL) for key in "123457#"]
            untold = Pressed("1", 0, -1, Timing.UNPROVEN)
            return [*keys, *held, untold, TimedOut(), Gone(), Failed("connection_lost")]
        case Decide():
            if step.decision.outcome is Outcome.GRANTED:
                return [Granted(grants[step.decision.purposes_granted]), Failed("log_not_written")]
            return [Logged(), Logged(durable=False), Failed("log_too_slow")]
        case Record():
            return [Recording("0x1", "file.raw"), NotConfirmed("recording_file_missing"), Gone(), Failed("lost")]
        case StopRecording():
            return [Stopped(), Gone(), Failed("stop_not_confirmed")]
        case Note():
            return [Logged(), Logged(durable=False), Failed("log_too_slow")]
        case Route():
            return [Routed(), Gone(), Failed("dialplan_not_told")]


def anything(step: Step, grants: Grants) -> list[Result]:
    """As :func:`sensible`, and then every kind of result that does not belong to the step, or says too much."""
    nonsense: list[Result] = [
        Answered(),
        Played(8000, 1000),
        Pressed("1", 0, 500, Timing.UNPROVEN),
        Pressed("1", 0, 500, Timing.VIRTUAL),
        Pressed("0"),
        Pressed(""),
        TimedOut(),
        Granted(grants[()]),
        Logged(),
        Recording("0x1", "file.raw"),
        NotConfirmed("recording_file_missing"),
        Stopped(),
        Routed(),
    ]
    usual = sensible(step, grants)
    return [*usual, *(result for result in nonsense if result not in usual)]


# --- one path through the flow ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """The steps asked for, what came back, and the ending."""

    plan: Plan
    steps: tuple[tuple[Step, Result], ...]
    ending: Ending

    def __str__(self) -> str:
        return "\n".join(f"  {_short(step)} -> {result}" for step, result in self.steps) + f"\n  {self.ending}"


def _short(step: Step | None) -> str:
    if isinstance(step, Play):
        return f"Play {step.prompt.path}"
    if isinstance(step, Decide):
        return f"Decide {step.decision.outcome} {step.decision.reason}"
    return str(step)[:100]


def run(plan: Plan, choose: Callable[[Step], Result]) -> Course:
    """Drive the flow to its end."""
    flow = consent_flow(plan, CALL)
    steps: list[tuple[Step, Result]] = []
    step = next(flow)
    while len(steps) < MAX_STEPS:
        result = choose(step)
        steps.append((step, result))
        try:
            step = flow.send(result)
        except StopIteration as end:
            return Course(plan, tuple(steps), end.value)
    raise AssertionError(f"no end after {MAX_STEPS} steps")


def walk(
    plan: Plan, options: Callable[[Step], list[Result]], deviations: int, begun: Sequence[Result] = ()
) -> Iterator[Course]:
    """Every path that begins so, with at most so many results other than the ordinary (first) one afterwards."""
    prefix: list[int] = []
    taken: list[tuple[int, int]] = []  # the option taken and how many there were

    def choose(step: Step) -> Result:
        found = options(step) if len(taken) >= len(begun) else [begun[len(taken)]]
        option = prefix[len(taken)] if len(taken) < len(prefix) else 0
        taken.append((option, len(found)))
        return found[option]

    while True:
        taken.clear()
        yield run(plan, choose)
        # The next path: the last step that can still go another way does, and all after it is ordinary.
        while taken:
            option, count = taken.pop()
            spent = sum(1 for other, _ in taken if other)
            if option + 1 < count and spent < deviations:
                prefix = [other for other, _ in taken] + [option + 1]
                break
        else:
            return


# --- the judge --------------------------------------------------------------------------------------------------------


def judge(path: Course) -> None:
    """I1 to I4 of one path. Raises :class:`AssertionError`."""
    steps, ending = path.steps, path.ending
    assert isinstance(steps[0][0], Answer)
    decides = [(step.decision, result) for step, result in steps if isinstance(step, Decide)]
    _one_decision(decides, ending)
    _recorder_only_with_its_grant(path)
    _routes(path)
    _nothing_said_to_nobody(path)
    _listen(path)
    for decision, _ in decides:
        assert re.fullmatch(r"[a-z_]+", decision.reason), "I3: a reason is named"
        assert (decision.route == "recorded") == (decision.outcome is Outcome.GRANTED)
        assert (decision.recording_id is None) == (decision.outcome is not Outcome.GRANTED)
        assert bool(decision.purposes_granted) == (decision.outcome is Outcome.GRANTED)
        decision.payload()
    assert re.fullmatch(r"[a-z_]+", ending.reason)


def _one_decision(decides: list[tuple[Decision, Result]], ending: Ending) -> None:
    assert 1 <= len(decides) <= 2, "I3: one decision"
    first, written = decides[0]
    if len(decides) == 2:
        second = decides[1][0]
        assert first.outcome is Outcome.GRANTED
        assert not (isinstance(written, Granted) and written.grant.call_id == CALL.call_id)
        assert second.outcome is Outcome.FAILED
    last, written = decides[-1]
    if last.outcome is Outcome.GRANTED:
        assert isinstance(written, Granted)
        assert ending.logged
    else:
        assert ending.outcome is last.outcome
        assert ending.reason == last.reason
        assert ending.logged == (written == Logged(durable=True))


def _recorder_only_with_its_grant(path: Course) -> None:
    """I1, and I4: what was started and is not to go on is stopped."""
    started: list[int] = []
    for number, ((before, proof), (step, _)) in enumerate(pairwise(path.steps), 1):
        if isinstance(step, Record):
            assert isinstance(before, Decide), "I1: the log first"
            assert before.decision.outcome is Outcome.GRANTED
            assert isinstance(proof, Granted)
            assert step.grant is proof.grant, "I1: with the very grant"
            assert step.grant.call_id == CALL.call_id
            assert step.grant.purposes == before.decision.purposes_granted
            started.append(number)
    assert len(started) <= 1
    stops = [number for number, (step, _) in enumerate(path.steps) if isinstance(step, StopRecording)]
    if not started:
        assert not stops
        assert path.ending.outcome is not Outcome.GRANTED
        return
    confirmed = path.steps[started[0]][1]
    if path.ending.outcome is Outcome.GRANTED:
        assert isinstance(confirmed, Recording)
        assert not stops
    elif not isinstance(confirmed, NotConfirmed):
        assert len(stops) == 1, "I4: a recorder that may run is stopped"
        assert stops[0] > started[0]
        said = [step for step, _ in path.steps[stops[0] :] if isinstance(step, Note)]
        assert len(said) == 1
        assert said[0].kind in ("withdrawn", "recording_stopped"), "I5: and the log says so"
        assert said[0].details["stop_confirmed"] == isinstance(path.steps[stops[0]][1], Stopped)
        assert said[0].details["reason"]


def _routes(path: Course) -> None:
    """I4: the recorded line is told once, after everything is in place; any other end tells the unrecorded one."""
    routes = [(number, step, result) for number, (step, result) in enumerate(path.steps) if isinstance(step, Route)]
    results = [result for _, result in path.steps]
    granted = path.ending.outcome is Outcome.GRANTED
    assert (path.ending.route is Destination.RECORDED) == granted
    assert (path.ending.recording_id == CALL.call_id) == granted
    for number, step, _ in routes:
        assert step.reason
        if step.destination is Destination.RECORDED:
            assert step.outcome == "granted"
            before = path.steps[number - 4 : number]
            assert [type(step) for step, _ in before] == [Decide, Record, Note, Play]
            assert [type(result) for _, result in before] == [Granted, Recording, Logged, Played]
            assert before[2][1] == Logged(durable=True), "R9: the confirmation is on disk"
        else:
            assert step.outcome != "granted"
            assert step.outcome == path.ending.outcome.value
    assert [step.destination for _, step, _ in routes].count(Destination.RECORDED) <= 1
    if granted:
        assert isinstance(routes[-1][2], Routed)
        assert len(routes) == 1
    elif not any(isinstance(result, Gone) for result in results):
        assert routes, "R6: the dialplan is told"
        assert routes[-1][1].destination is Destination.UNRECORDED


def _nothing_said_to_nobody(path: Course) -> None:
    gone = [number for number, (_, result) in enumerate(path.steps) if isinstance(result, Gone)]
    if gone:
        later = [step for step, _ in path.steps[gone[0] + 1 :]]
        assert not any(isinstance(step, Answer | Play | Ask | Record | Route) for step in later), "after a hang-up"
        assert path.ending.outcome is not Outcome.GRANTED


@dataclass(frozen=True, slots=True)
class Memory:
    """I2, told from outside: what a caller has heard of all that has to be heard, and answered, up to some step.

    ``whole``: prompts heard to the end in this language; ``asked``: the purpose that the words now are about.
    """

    notice: int = 0
    last: str = ""
    asked: str | None = None
    whole: frozenset[str] = frozenset()
    yes: frozenset[str] = frozenset()
    no: frozenset[str] = frozenset()
    gone: bool = False


@dataclass(frozen=True)
class Listener:
    """Looks at a call from its beginning until the choice is over, step by step."""

    plan: Plan

    @cached_property
    def _places(self) -> Mapping[str, int]:
        notices = enumerate(self.plan.notices)
        return {prompt.path: number for number, notice in notices for prompt in notice.prompts()}

    def begin(self) -> Memory:
        return Memory()

    def see(self, memory: Memory, step: Step, result: Result | None) -> Memory:
        """Raises :class:`AssertionError` where I2 to I4 are broken."""
        match step:
            case Decide() if step.decision.outcome is Outcome.GRANTED:
                assert set(step.decision.purposes_granted) <= memory.yes - memory.no, "I2"
            case Play() if step.prompt.id == "result-granted":
                assert memory.yes - memory.no, "I2, of a trial"
        if result is None:
            return Memory(gone=memory.gone)  # what the choice was is of no more use
        assert isinstance(step, Answer | Note | Play | Ask), "I1, I4: nothing else before the choice is over"
        assert not memory.gone or isinstance(step, Note), "after a hang-up"
        match step:
            case Play():
                memory = self._played(memory, step.prompt, result)
            case Ask():
                memory = self._asked(memory, result)
        return replace(memory, gone=memory.gone or isinstance(result, Gone))

    def _played(self, memory: Memory, prompt: Prompt, result: Result) -> Memory:
        spoken = self._places[prompt.path]
        if spoken != memory.notice:
            memory = replace(memory, notice=spoken, whole=frozenset(), yes=frozenset())
        notice = self.plan.notices[spoken]
        questions = {question.path: purpose for purpose, question in notice.questions.items()}
        whole = memory.whole - {prompt.path}
        if isinstance(result, Played) and result.samples in prompt.lengths:
            whole |= {prompt.path} & {one.path for one in (*notice.information, *notice.questions.values())}
        asked = questions.get(prompt.path, memory.asked)
        no = memory.no
        if isinstance(result, Pressed) and result.key == self.plan.keys.no:
            # During a question, or the words that lead to it again, no answers that question; else all of them.
            one = prompt.path in {words.path for words in (*notice.questions.values(), *notice.results.values())}
            no |= {asked} if one and asked is not None else set(self.plan.purposes)
        return replace(memory, last=prompt.path, asked=asked, whole=whole, no=no)

    def _asked(self, memory: Memory, result: Result) -> Memory:
        notice = self.plan.notices[memory.notice]
        asked = next((p for p, question in notice.questions.items() if question.path == memory.last), None)
        assert asked is not None, "a window only after its question"
        needed = (*notice.information, notice.questions[asked])
        assert memory.whole.issuperset(prompt.path for prompt in needed), "a window only after the whole notice"
        assert asked not in memory.no, "R5: who said no is not asked again"
        assert asked not in memory.yes
        key = result.key if isinstance(result, Pressed) else None
        in_time = isinstance(result, Pressed) and result.after_ms >= 0 and result.timing is not Timing.UNPROVEN
        if key == self.plan.keys.no:
            return replace(memory, no=memory.no | {asked})
        return replace(memory, yes=memory.yes | {asked}) if key == self.plan.keys.yes and in_time else memory


def _listen(path: Course) -> None:
    """I2, from the beginning until the choice is over."""
    listener = Listener(path.plan)
    memory = listener.begin()
    for step, result in path.steps:
        if choice_is_over(step):
            listener.see(memory, step, None)
            return
        memory = listener.see(memory, step, result)


# --- the tests --------------------------------------------------------------------------------------------------------


TINY = short_plan(segments=1, repeats=1)
SMALL = short_plan(segments=1, repeats=0, purposes=("training", "quality"), languages=("en", "da"))
AGAIN = short_plan(segments=1, long=0, repeats=1, purposes=("training", "quality"))
BRIEF = short_plan(segments=1, long=0, repeats=0)
LARGE = short_plan(segments=3, repeats=2, purposes=("training", "quality"), languages=("en", "da", "de"), long=2)


def shipped(**line: Any) -> Plan:
    """The plan of a line with the shipped notice, each of its prompts with a path of its own."""
    plan = plan_without_audio(Line(**line))

    def placed(notice: SpokenNotice) -> SpokenNotice:
        def one(prompt: Prompt, prefix: str = "") -> Prompt:
            return replace(prompt, path=f"/{notice.language}/{prefix}{prompt.id}", id=f"{prefix}{prompt.id}")

        return replace(
            notice,
            information=tuple(one(prompt) for prompt in notice.information),
            questions={purpose: one(prompt) for purpose, prompt in notice.questions.items()},
            long=tuple(one(prompt) for prompt in notice.long),
            results={name: one(prompt, "result-") for name, prompt in notice.results.items()},
        )

    return replace(plan, notices=tuple(placed(notice) for notice in plan.notices))


WALKED: Mapping[str, Callable[[], Plan]] = {
    "shipped notice, one purpose": shipped,
    "shipped notice, two purposes": lambda: shipped(purposes=["training", "quality"]),
    "one purpose, three languages": lambda: short_plan(segments=1, languages=("en", "da", "de")),
    "two purposes, two languages": lambda: short_plan(
        segments=1, long=0, repeats=1, purposes=("training", "quality"), languages=("en", "da")
    ),
}
"""Policies that are walked to their full depth, by what they are called in print; two repeats where nothing else is
said, as shipped."""

FULL = 1000
"""More deviations than a path has results."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What a policy's walk to its full depth came to: ``longest`` is the results of its longest path."""

    paths: int
    longest: int
    states: int
    results: int
    outcomes: frozenset[Outcome]

    def __str__(self) -> str:
        return f"{self.paths} paths of up to {self.longest} results, by {self.results} results in {self.states} states"


def every(step: Step, grants: Grants) -> list[Result]:
    """As :func:`sensible`, with every key of a telephone, pressed in time and held since before."""
    found = sensible(step, grants)
    if isinstance(step, Ask):
        pressed = [Pressed(key, 0, at, Timing.VIRTUAL) for key in "1234567890*#" for at in (500, -200)]
        found += [one for one in pressed if one not in found]
    return found


def walk_all(
    plan: Plan, options: Callable[[Step], list[Result]], judged: Callable[[Course], None], deviations: int = FULL
) -> Walked:
    """Every path there is: I2 to I4 at every result until the choice is over, and all four on every path after it.

    There ``deviations`` bounds the results that are not the ordinary ones.
    """
    nodes = graph(plan, CALL, options, Listener(plan))
    tails: dict[int, tuple[int, int]] = {}
    outcomes: set[Outcome] = set()
    results = sum(len(node.behind) for node in nodes)
    for number, node in enumerate(nodes):
        if node.over:
            tail = []
            for path in walk(plan, options, deviations, node.way):
                judged(path)
                assert comes_to_its_end(plan, CALL, [result for _, result in path.steps])
                tail.append(len(path.steps) - len(node.way))
                outcomes.add(path.ending.outcome)
            tails[number] = len(tail), max(tail)
    count, longest = paths(nodes, tails)
    return Walked(count, longest, len(nodes), results, frozenset(outcomes))


def paths_walked() -> Iterator[str]:
    """How far :func:`test_every_caller_and_every_failure_to_the_full_depth` goes, by policy; for ``make mutants``."""
    with tempfile.TemporaryDirectory() as directory:
        made = {purposes: _grant(Path(directory) / "-".join(purposes), CALL, purposes) for purposes in PURPOSES}
    for name, plan in WALKED.items():
        yield f"{name}: {walk_all(plan(), lambda step: every(step, made), _judged)}"


@pytest.mark.parametrize("name", WALKED)
def test_every_caller_and_every_failure_to_the_full_depth(
    name: str, grants: Grants, capsys: pytest.CaptureFixture[str]
) -> None:
    """I1, I2, I3, I4 on every path: each key, silence, hang-up, early key and failure at every step, till the end."""
    walked = walk_all(WALKED[name](), lambda step: every(step, grants), _judged)
    with capsys.disabled():
        print(f"\n{name}: {walked}")
    assert walked.outcomes == set(Outcome)


def test_the_count_is_that_of_the_paths_walked_one_by_one(grants: Grants) -> None:
    """A notice that nobody can hear twice is short enough to walk without a state that two paths share."""
    for plan in (BRIEF, replace(BRIEF, trial=True)):
        judged = _trial_judged if plan.trial else _judged
        ways = [
            len(path.steps) for path in walk(plan, lambda step: sensible(step, grants), FULL) if judged(path) is None
        ]
        walked = walk_all(plan, lambda step: sensible(step, grants), judged)
        assert (walked.paths, walked.longest) == (len(ways), max(ways))
        assert walked.states < 60
        assert walked.paths > 200


@pytest.mark.parametrize("name", ["shipped", "TINY", "SMALL", "AGAIN"])
def test_the_graph_is_the_flow(name: str, grants: Grants) -> None:
    """On any way through it, whichever calls came to the same states before, the flow asks for what the graph says."""
    plan = {"shipped": shipped(), "TINY": TINY, "SMALL": SMALL, "AGAIN": AGAIN}[name]
    nodes = graph(plan, CALL, lambda step: sensible(step, grants), Listener(plan))
    chosen = random.Random(name)  # noqa: S311 - the same ways each time
    lengths = []
    for _ in range(300):
        flow = consent_flow(plan, CALL)
        step, number, length = next(flow), 0, 0
        while not nodes[number].over:
            assert _short(step) == _short(nodes[number].step)
            found = sensible(step, grants)
            lasting = [n for n, to in enumerate(nodes[number].behind) if not nodes[to].over]
            option = chosen.choice(lasting) if lasting and chosen.random() < 0.97 else chosen.randrange(len(found))
            step, number, length = flow.send(found[option]), nodes[number].behind[option], length + 1
        assert _short(step) == _short(nodes[number].step)
        assert choice_is_over(step)
        lengths.append(length)
    assert max(lengths) > 10


def test_who_goes_by_evidence_is_found_out(grants: Grants, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that looks at what its states leave out could go on differently where the graph says the same."""
    before = flow_module._Flow.interrupts

    def interrupts(flow: Any) -> frozenset[str]:
        return frozenset() if flow.passes > 1 else before(flow)

    monkeypatch.setattr(flow_module._Flow, "interrupts", interrupts)
    with pytest.raises(AssertionError, match="goes by what its state"):
        walk_all(TINY, lambda step: sensible(step, grants), _judged)


def test_a_flow_that_goes_round_in_circles_is_found_out(grants: Grants, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence that costs no attempt: a call could last for ever."""
    before = flow_module._Flow.unclear

    def unclear(flow: Any, question: Any, reason: str, say: str) -> Iterator[Step]:
        question.attempts -= 1
        return before(flow, question, reason, say)

    monkeypatch.setattr(flow_module._Flow, "unclear", unclear)
    with pytest.raises(CycleError):
        walk_all(TINY, lambda step: sensible(step, grants), _judged)


@pytest.mark.parametrize(
    ("plan", "deviations"), [(BRIEF, 2), (TINY, 1), (SMALL, 1)], ids=["asked once", "one purpose", "two of each"]
)
def test_every_nonsense(plan: Plan, deviations: int, grants: Grants) -> None:
    """I1 to I4 whatever comes back: at every step of the choice, and at any one or two steps after it."""
    walked = walk_all(plan, lambda step: anything(step, grants), _judged, deviations)
    assert walked.outcomes == set(Outcome)


@settings(max_examples=300, deadline=None, suppress_health_check=HEALTH)
@given(data=st.data())
def test_any_call_on_a_large_plan(grants: Grants, data: st.DataObject) -> None:
    """I1 to I4 on random long calls: three languages, two purposes, repeats, long version."""

    def choose(step: Step) -> Result:
        found = anything(step, grants) if data.draw(st.integers(0, 39)) == 0 else sensible(step, grants)
        if isinstance(step, Ask):
            return data.draw(st.sampled_from(found))
        return found[0] if data.draw(st.integers(0, 9)) else data.draw(st.sampled_from(found))

    _judged(run(LARGE, choose))


# --- trials -----------------------------------------------------------------------------------------------------------


def judge_trial(path: Course) -> None:
    """A draft that is tried: nothing is logged, nothing recorded, nobody is routed to the recorded line."""
    steps, ending = path.steps, path.ending
    assert isinstance(steps[0][0], Answer)
    assert {type(step) for step, _ in steps} <= {Answer, Play, Ask, Route}, "no Decide, no Record, no Note"
    _nothing_said_to_nobody(replace(path, ending=replace(ending, outcome=Outcome.FAILED)))
    assert (ending.route, ending.logged, ending.recording_id) == (Destination.UNRECORDED, False, None)
    assert re.fullmatch(r"[a-z_]+", ending.reason)
    routes = [step for step, _ in steps if isinstance(step, Route)]
    assert all(step == Route(Destination.UNRECORDED, "trial", ending.reason) for step in routes)
    assert len(routes) <= 1
    assert routes or any(isinstance(result, Gone) for _, result in steps), "the dialplan is told"
    assert not routes or isinstance(steps[-1][0], Route)
    told = [step.prompt.id for step, _ in steps if isinstance(step, Play) and step.prompt.id.startswith("result-")]
    granted = ending.outcome is Outcome.GRANTED
    assert granted == ("result-granted" in told), "what is heard is what a caller would hear"
    if granted:
        assert told[-1] == "result-granted"
    _listen(path)


def _trial_judged(path: Course) -> None:
    try:
        judge_trial(path)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{path}") from error


@pytest.mark.parametrize(
    ("plan", "options"),
    [(TINY, every), (SMALL, every), (TINY, anything)],
    ids=["one purpose", "two of each", "nonsense"],
)
def test_every_trial(plan: Plan, options: Callable[[Step, Grants], list[Result]], grants: Grants) -> None:
    """Whatever is pressed, whatever fails, and with real Grants where none belong: a draft starts nothing."""
    walked = walk_all(replace(plan, trial=True), lambda step: options(step, grants), _trial_judged)
    assert walked.outcomes == set(Outcome)


@settings(max_examples=200, deadline=None, suppress_health_check=HEALTH)
@given(data=st.data())
def test_any_trial_of_a_large_plan(grants: Grants, data: st.DataObject) -> None:
    def choose(step: Step) -> Result:
        found = anything(step, grants) if data.draw(st.integers(0, 39)) == 0 else sensible(step, grants)
        if isinstance(step, Ask):
            return data.draw(st.sampled_from(found))
        return found[0] if data.draw(st.integers(0, 9)) else data.draw(st.sampled_from(found))

    _trial_judged(run(replace(LARGE, trial=True), choose))


@pytest.mark.parametrize("plan", [TINY, SMALL], ids=["one purpose", "two of each"])
def test_a_trial_sounds_like_the_call(plan: Plan, grants: Grants) -> None:
    """Who hears the draft hears what callers will: the same prompts and windows, with the same keys, in the same order.

    But for a granted call's last prompt, which "no" may cut short where there is something to take back.
    """

    def heard(path: Course) -> list[Any]:
        return [
            (step.prompt.path, None if step.prompt.id == "result-granted" else step.keys)
            if isinstance(step, Play)
            else step
            for step, _ in path.steps
            if isinstance(step, Answer | Play | Ask)
        ]

    def on_the_call(step: Step) -> list[Result]:
        """What a caller can do; disk and recorder do their work."""
        found = sensible(step, grants)
        return found if isinstance(step, Answer | Play | Ask) and not _after_the_choice(step) else found[:1]

    calls = list(walk(plan, on_the_call, 2))
    trials = list(walk(replace(plan, trial=True), on_the_call, 2))
    assert [heard(path) for path in trials] == [heard(path) for path in calls]
    assert [path.ending.outcome for path in trials] == [path.ending.outcome for path in calls]
    assert [path.ending.reason for path in trials] == [path.ending.reason for path in calls]


def _after_the_choice(step: Step) -> bool:
    return isinstance(step, Play) and step.prompt.id in ("result-granted", "result-declined", "result-unrecorded")


def test_the_judge_of_trials_sees(grants: Grants) -> None:
    """It is not blind: a real call is not taken for a trial, nor a forged one."""
    with pytest.raises(AssertionError):
        judge_trial(run(TINY, lambda step: sensible(step, grants)[0]))
    good = run(replace(TINY, trial=True), lambda step: sensible(step, grants)[0])
    judge_trial(good)
    route = good.steps[-1]
    recorded = (Route(Destination.RECORDED, "granted", "yes_key"), Routed())
    for steps, ending in (
        ((*good.steps[:-1], recorded), good.ending),
        ((*good.steps, route), good.ending),
        (good.steps[:-1], good.ending),
        (tuple(pair for pair in good.steps if not isinstance(pair[0], Ask)), good.ending),
        (good.steps, replace(good.ending, route=Destination.RECORDED)),
        (good.steps, replace(good.ending, logged=True)),
        (good.steps, replace(good.ending, recording_id=CALL.call_id)),
    ):
        with pytest.raises(AssertionError):
            judge_trial(Course(good.plan, steps, ending))


def _judged(path: Course) -> None:
    try:
        judge(path)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{path}") from error


def test_every_transition_is_taken_by_some_call(grants: Grants, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has no entry that cannot happen, and the flow ends in a terminal state."""
    taken: set[tuple[State, Event]] = set()

    def recording_advance(state: State, event: Event) -> State:
        taken.add((state, event))
        return advance(state, event)

    monkeypatch.setattr(flow_module, "advance", recording_advance)
    for plan, deviations in ((TINY, 2), (SMALL, 2)):
        for path in walk(plan, lambda step: sensible(step, grants), deviations):
            assert path.ending.reason
    assert set(TRANSITIONS) - taken == set()


def test_a_line_that_cannot_be_asked_on(grants: Grants) -> None:
    """R6, R7: logged as failed, told the unrecorded line, whatever comes back; nothing is played."""
    for written in anything(Decide(_refused()), grants):
        for told in anything(Route(Destination.UNRECORDED, "failed", "x"), grants):
            flow = refusal_flow(CALL, "unknown_line")
            decide = next(flow)
            assert isinstance(decide, Decide)
            assert decide.decision.outcome is Outcome.FAILED
            route = flow.send(written)
            assert route == Route(Destination.UNRECORDED, "failed", "unknown_line")
            with pytest.raises(StopIteration) as end:
                flow.send(told)
            assert end.value.value == Ending(
                Outcome.FAILED, "unknown_line", Destination.UNRECORDED, written == Logged(), None
            )


def _refused() -> Decision:
    return flow_module.failed_decision(CALL, "unknown_line")


def test_another_calls_grant_starts_nothing(grants: Grants) -> None:
    """I1: a grant proves one call; with any other one nothing is recorded and the call is logged as failed."""

    def choose(step: Step) -> Result:
        if isinstance(step, Decide) and step.decision.outcome is Outcome.GRANTED:
            return Granted(grants[()])
        return sensible(step, grants)[0]

    path = run(TINY, choose)
    _judged(path)
    assert path.ending.outcome is Outcome.FAILED
    assert not any(isinstance(step, Record) for step, _ in path.steps)


def test_a_grant_for_other_purposes_starts_nothing(grants: Grants) -> None:
    """R4, I1: a grant proves what was granted in this call, not more and not less."""

    def choose(step: Step) -> Result:
        if isinstance(step, Decide) and step.decision.outcome is Outcome.GRANTED:
            return Granted(grants[("training",)])
        return sensible(step, grants)[0]

    course = run(SMALL, choose)
    assert course.ending.outcome is Outcome.FAILED
    assert not any(isinstance(step, Record) for step, _ in course.steps)


def test_nobody_is_told_anything_after_hanging_up(grants: Grants) -> None:
    """A hang-up while the result is told: the recorder is stopped and read back, and no prompt follows."""

    def choose(step: Step) -> Result:
        told = isinstance(step, Play) and step.prompt.id == "result-granted"
        return Gone() if told else sensible(step, grants)[0]

    path = run(TINY, choose)
    assert [type(step) for step, _ in path.steps[-3:]] == [Play, StopRecording, Note]
    assert path.ending.reason == "hung_up_while_result_was_told"


def test_an_unproven_press_never_grants(grants: Grants) -> None:
    """I2: "nobody knows when it began" is not "in the window", whatever number stands beside it."""

    def choose(step: Step) -> Result:
        untold = Pressed("1", 0, 500, Timing.UNPROVEN)
        return untold if isinstance(step, Ask) else sensible(step, grants)[0]

    assert run(TINY, choose).ending.outcome is Outcome.INVALID


@pytest.mark.parametrize("skipped", ["inform", "question"])
def test_a_flow_that_forgot_the_notice_does_not_grant(
    skipped: str, grants: Grants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I2 has a second lock: were the order of steps ever broken, the yes key would still grant nothing."""

    def inform(flow: Any) -> Iterator[Step]:
        flow.passes += 1
        flow.go(Event.INFORMED)
        yield from ()

    def ask(flow: Any, purpose: str, question: Any) -> Iterator[Step]:
        question.asked = flow.notice.questions[purpose]
        flow.go(Event.QUESTIONED)
        yield from flow.choose(question)

    monkeypatch.setattr(flow_module._Flow, *(("inform", inform) if skipped == "inform" else ("ask", ask)))
    course = run(TINY, lambda step: sensible(step, grants)[0])
    assert (course.ending.outcome, course.ending.reason) == (Outcome.FAILED, "notice_not_complete")
    assert not any(isinstance(step, Record) for step, _ in course.steps)


def test_prompts_without_a_length_are_never_heard(grants: Grants) -> None:
    """R6: a prompt with no format cannot be heard to its end; the call is logged and goes on."""
    notice = TINY.notices[0]
    empty = replace(notice, information=tuple(replace(prompt, lengths=frozenset()) for prompt in notice.information))

    def choose(step: Step) -> Result:
        return Played(8000, 1000) if isinstance(step, Play) else sensible(step, grants)[0]

    ending = run(replace(TINY, notices=(empty,)), choose).ending
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, "prompt_not_whole")


def test_an_empty_prompt_is_never_heard(grants: Grants) -> None:
    """I2: a file without a sample is played whole in no time, and says nothing."""
    notice = TINY.notices[0]
    empty = tuple(replace(prompt, lengths=frozenset({0})) for prompt in notice.information)

    def choose(step: Step) -> Result:
        return Played(min(step.prompt.lengths), 0) if isinstance(step, Play) else sensible(step, grants)[0]

    ending = run(replace(TINY, notices=(replace(notice, information=empty),)), choose).ending
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, "prompt_not_whole")


def test_the_judge_sees(grants: Grants) -> None:
    """The judge is not blind: each forged path is refused."""
    good = run(TINY, lambda step: sensible(step, grants)[0])
    judge(good)

    def forged(change: Callable[[list[tuple[Step, Any]]], None], **ending: Any) -> Course:
        steps = list(good.steps)
        change(steps)
        return Course(TINY, tuple(steps), replace(good.ending, **ending))

    def index(kind: type) -> int:
        steps = enumerate(step for step, _ in good.steps)
        return next(n for n, step in steps if isinstance(step, kind) and getattr(step, "kind", "") != "asked")

    def put(kind: type, result: Result) -> Callable[[list[tuple[Step, Any]]], None]:
        def change(steps: list[tuple[Step, Any]]) -> None:
            steps[index(kind)] = (steps[index(kind)][0], result)

        return change

    def drop(kind: type) -> Callable[[list[tuple[Step, Any]]], None]:
        return lambda steps: steps.pop(index(kind)) and None

    wrong = [
        forged(put(Decide, Failed("log_not_written"))),
        forged(put(Ask, TimedOut())),
        forged(put(Ask, Pressed("1", 0, -1, Timing.VIRTUAL))),
        forged(put(Play, Played(1, 1))),
        forged(put(Record, NotConfirmed("missing"))),
        forged(put(Note, Logged(durable=False))),
        forged(put(Route, Gone())),
        forged(drop(Decide)),
        forged(drop(Note)),
        forged(lambda steps: None, outcome=Outcome.FAILED),
        forged(lambda steps: None, route=Destination.UNRECORDED),
        forged(lambda steps: None, reason=""),
    ]
    for path in wrong:
        with pytest.raises(AssertionError):
            judge(path)
