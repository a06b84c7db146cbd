"""The flow as a graph: every state that a call can come to, every result in each, and how many paths that makes.

A state is all that decides how a generator goes on: where each of its frames stands, their local names, and the fields
of the call. What a state leaves out is *spent*: it raises when the flow looks at it. So two calls that are taken for
one cannot go on differently. (The iterators of loops cannot be read; their loop variables can, and no prompt is twice
in a notice.) Until the choice is over states are shared; what follows is short, and is walked path by path on the flow
as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any, Final, NoReturn, Protocol

from ivr_consent.core import flow as flow_module
from ivr_consent.core.decision import CallContext, Decision, Outcome
from ivr_consent.core.flow import Ending, Keys, Plan
from ivr_consent.core.steps import Decide, Play, Prompt, Result, Step

Options = Callable[[Step], list[Result]]

MAX_NODES: Final = 100_000
"""More is a flow whose states have no end."""

TOLD_LAST: Final = frozenset({"result-granted", "result-declined", "result-unrecorded"})
"""Prompts that tell how it was decided."""


# --- what may not be looked at ----------------------------------------------------------------------------------------


class Spent:
    """In the place of evidence and of what is over: to count on is allowed, to look at it is not."""

    def __add__(self, other: object) -> Spent:
        return self

    __sub__ = __add__

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError("the flow goes by what its state was said not to depend on")

    __bool__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __iter__ = __len__ = __getitem__ = __index__ = _refuse
    __mod__ = __contains__ = _refuse
    __hash__ = None  # type: ignore[assignment] # nothing spent is a key

    def __repr__(self) -> str:
        return "spent"


SPENT = Spent()


def _spent(name: str) -> property:
    return property(lambda self: SPENT, lambda self, value: None, doc=f"{name} is evidence alone.")


class _Told:
    """A result, as long as it may be looked at: until the next step is asked for."""

    __slots__ = ("_result",)

    def __init__(self, result: Result) -> None:
        self._result: Result | None = result

    def expire(self) -> None:
        self._result = None

    @property
    def __class__(self) -> Any:  # what isinstance() and match look at
        return SPENT._refuse() if self._result is None else type(self._result)

    @__class__.setter
    def __class__(self, kind: type) -> None:
        raise TypeError

    def __getattr__(self, name: str) -> Any:
        return SPENT._refuse() if self._result is None else getattr(self._result, name)

    def __str__(self) -> str:
        return "expired" if self._result is None else repr(self._result)


class _Heard(flow_module._Heard):
    """How often is evidence. Whether and how much counts of what has to be heard, once played in this language."""

    __slots__ = ("_complete", "_samples", "_total", "counts", "needed")
    times = _spent("times")

    def __init__(self, prompt: Prompt) -> None:  # as often as a prompt is played: no field that is set anew at once
        self.prompt, self._complete, self.counts = prompt, False, False

    @property
    def complete(self) -> Any:
        return self._complete if self.counts else SPENT

    @complete.setter
    def complete(self, value: bool) -> None:
        self._complete = value
        self.counts = getattr(self, "needed", False)

    @property
    def samples(self) -> Any:
        return self._samples if self.counts and self._complete else SPENT

    @samples.setter
    def samples(self, value: int) -> None:
        self._samples = value

    @property
    def total(self) -> Any:
        return self._total if self.counts and self._complete else SPENT

    @total.setter
    def total(self, value: int) -> None:
        self._total = value


class _Heards(dict[tuple[str, str], _Heard]):
    """To ask for what was never played is to look at what is spent: the two are one state."""

    def __init__(self, needed: frozenset[str]) -> None:
        self.needed = needed

    def setdefault(self, key: tuple[str, str], default: Any = None) -> Any:
        default.needed = default.prompt.path in self.needed
        return super().setdefault(key, default)

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        return self[key]

    def whole(self) -> tuple[Any, ...]:
        """What counts of it."""
        return tuple(sorted((key, one.samples, one.total) for key, one in self.items() if one.counts and one.complete))


class _Question(flow_module._Question):
    """Which key, when, and after which words is evidence; the words can be read once, to be played.

    ``last``: what has been answered is never asked again, as there is no other language.
    """

    __slots__ = ("_asked", "_attempts", "_unclear", "last")
    _asked: Any
    last: bool
    key = _spent("key")
    after_ms = _spent("after_ms")
    timing = _spent("timing")
    early_keys = _spent("early_keys")

    @property
    def asked(self) -> Any:
        asked, self._asked = self._asked, SPENT
        return asked

    @asked.setter
    def asked(self, value: Any) -> None:
        self._asked = SPENT if value is None else value

    @property
    def unclear(self) -> Any:
        return self._unclear if self.answer in ("no_answer", "invalid") else SPENT

    @unclear.setter
    def unclear(self, value: str) -> None:
        self._unclear = value

    @property
    def attempts(self) -> Any:
        over = self.answer == "declined" or (self.answer is not None and self.last)
        return SPENT if over else self._attempts

    @attempts.setter
    def attempts(self, value: int) -> None:
        self._attempts = value


class _Flow(flow_module._Flow):
    """The flow itself, with its evidence spent."""

    passes = _spent("passes")

    def __init__(self, plan: Plan, call: CallContext) -> None:
        super().__init__(plan, call, None)
        needed = (one for notice in plan.notices for one in (*notice.information, *notice.questions.values()))
        self.heards = _Heards(frozenset(prompt.path for prompt in needed))
        self.heard = self.heards  # type: ignore[assignment] # a dict of them
        for question in self.questions.values():
            assert isinstance(question, _Question)
            question.last = len(plan.notices) == 1

    def switch_language(self) -> None:
        super().switch_language()
        for one in self.heards.values():
            one.counts = False

    def decision(self, outcome: Outcome, reason: str, purposes: tuple[str, ...]) -> Decision:
        return replace(super().decision(outcome, reason, purposes), answers=(), repeats=0)

    def notice_evidence(self) -> Any:
        return None

    def answer_evidence(self, purpose: str, question: object) -> Any:
        return None

    def spend_the_choice(self) -> None:
        """From here on nothing of it is looked at any more, but the language."""
        self.turn %= len(self.plan.notices)
        self.questions = dict.fromkeys(self.questions, SPENT)  # type: ignore[arg-type] # spent
        self.heard = self.replays = self.explained = self.switches = SPENT  # type: ignore[assignment] # spent


@contextmanager
def _spending() -> Iterator[None]:
    """The flow makes its fields of these classes."""
    before = flow_module._Heard, flow_module._Question
    flow_module._Heard, flow_module._Question = _Heard, _Question  # type: ignore[misc,assignment] # subclasses
    try:
        yield
    finally:
        flow_module._Heard, flow_module._Question = before  # type: ignore[misc] # as they were


class _Call:
    """A call under way, which has been sent ``results``. ``step`` is ``None`` when it has ended."""

    def __init__(self, plan: Plan, call: CallContext, results: Sequence[Result] = ()) -> None:
        self.flow = _Flow(plan, call)
        self.generator = self.flow.run()
        self.step: Step | None = next(self.generator)
        self.ending: Ending | None = None
        self.over = False
        for result in results:
            self.send(result)

    def send(self, result: Result) -> None:
        told = _Told(result)
        try:
            self.step = self.generator.send(told)  # type: ignore[arg-type]  # it is one, to whoever asks
        except StopIteration as end:
            self.step, self.ending, self.over = None, end.value, True
            return
        if not self.over:
            told.expire()
            self.over = choice_is_over(self.step)
            if self.over:
                self.flow.spend_the_choice()

    def state(self) -> Hashable:
        """All that decides how it goes on."""
        if self.step is None:
            return self.ending
        frames = []
        running: Any = self.generator
        while running is not None:
            frame = running.gi_frame
            names = sorted((name, self._frozen(value)) for name, value in frame.f_locals.items() if name != "self")
            frames.append((frame.f_code.co_name, frame.f_lasti, tuple(names)))
            running = running.gi_yieldfrom
        flow = self.flow
        if self.over:
            return tuple(frames), flow.state, flow.turn
        counted = (flow.turn, flow.replays, flow.explained, flow.switches)
        asked = tuple((one.answer, repr(one.attempts), repr(one.unclear)) for one in flow.questions.values())
        return tuple(frames), flow.state, counted, flow.heards.whole(), asked

    def _frozen(self, value: Any) -> str:
        if type(value) is _Told:
            return str(value)
        match value:
            case None | str() | int():
                return repr(value)
            case frozenset():
                return repr(sorted(value))
            case tuple():
                return repr([self._frozen(one) for one in value])
            case Prompt():
                return value.path
            case flow_module._Heard():
                return value.prompt.path
            case flow_module._Question():
                return next(purpose for purpose, one in self.flow.questions.items() if one is value)
            case flow_module._End():
                return repr((value.event, value.outcome, value.reason))
            case Ending():
                return repr(value)
            case Decision():
                return repr((value.outcome, value.reason, value.purposes_granted))
            case Keys():
                return "the keys"
        raise TypeError(f"{value!r}: a local name of the flow that a state does not know how to hold")


def choice_is_over(step: Step) -> bool:
    """Whether nothing is asked from here on: it is decided, or (in a trial) the result is told."""
    return isinstance(step, Decide) or (isinstance(step, Play) and step.prompt.id in TOLD_LAST)


def comes_to_its_end(plan: Plan, call: CallContext, results: Sequence[Result]) -> bool:
    """Whether these results end the flow, without its looking at anything spent."""
    with _spending():
        return _Call(plan, call, results).step is None


# --- the graph --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """A state, with what a judge remembers of the way to it.

    ``way``: the results of one of the shortest ways to it. ``behind``: the numbers of the nodes behind each option of
    ``step``, in their order; none where the choice is over, or (``step`` is ``None``) the call.
    """

    way: tuple[Result, ...]
    step: Step | None
    over: bool
    memory: Hashable
    behind: list[int] = field(default_factory=list)


class Judge(Protocol):
    """Looks at every result of every node's step."""

    def begin(self) -> Hashable:
        """What it remembers before the first step."""

    def see(self, memory: Any, step: Step, result: Result | None) -> Hashable:
        """What it remembers afterwards; ``None``: the step where the choice is over. Raises AssertionError."""


def graph(plan: Plan, call: CallContext, options: Options, judge: Judge) -> list[Node]:
    """All nodes up to where the choice is over; the first is the call's beginning.

    Raises :class:`AssertionError` of the judge, and when there is no end of states.
    """
    with _spending():
        return _graph(plan, call, options, judge)


def _graph(plan: Plan, call: CallContext, options: Options, judge: Judge) -> list[Node]:
    first = _Call(plan, call)
    assert first.step is not None
    nodes = [Node((), first.step, over=False, memory=judge.begin())]
    known: dict[Hashable, int] = {(first.state(), nodes[0].memory): 0}
    alive: dict[int, _Call] = {0: first}
    for number, node in enumerate(nodes):  # which grow
        assert len(nodes) < MAX_NODES, "no end of states"
        here = alive.pop(number)
        if node.over or node.step is None:
            continue
        results = options(node.step)
        for last, result in enumerate(results, 1 - len(results)):
            # A generator cannot be copied: the last option goes on with the one that came here, others go all the way.
            went = here if last == 0 else _Call(plan, call, node.way)
            went.send(result)
            memory = judge.see(node.memory, node.step, result)
            if went.over and went.step is not None:
                memory = judge.see(memory, went.step, None)
            to = known.setdefault((went.state(), memory), len(nodes))
            if to == len(nodes):
                nodes.append(Node((*node.way, result), went.step, went.over, memory))
                alive[to] = went
            node.behind.append(to)
    return nodes


def paths(nodes: Sequence[Node], tails: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """How many paths lead through the graph, and how many results the longest has.

    ``tails``: the same of what goes on from each node where the choice is over. Raises :class:`graphlib.CycleError`
    when a call could go round in circles.
    """
    behind = {number: set(node.behind) for number, node in enumerate(nodes)}
    count = {number: tail[0] for number, tail in tails.items()}
    length = {number: tail[1] for number, tail in tails.items()}
    for number in TopologicalSorter(behind).static_order():
        if number not in tails:
            count[number] = sum(count[to] for to in nodes[number].behind)
            length[number] = 1 + max(length[to] for to in nodes[number].behind)
    return count[0], length[0]
