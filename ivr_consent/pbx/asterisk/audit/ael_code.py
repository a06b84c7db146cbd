"""Statements of AEL as priorities: branches, loops and switches become jumps, as Asterisk compiles them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ivr_consent.pbx.asterisk.audit.texts import parts
from ivr_consent.pbx.audit.findings import Place

if TYPE_CHECKING:
    from ivr_consent.pbx.asterisk.audit.ael import Reader

MACRO_EXTENSION: Final = "~~s~~"
"""The extension that a macro's code stands in."""

_DEEPEST_BLOCK: Final = 60


class NotUnderstood(Exception):
    """A place that is not read: what was wanted there."""


class Code:
    """The statements of one extension as priorities. Jumps within it are by number."""

    def __init__(self, reader: Reader, place: Place) -> None:
        self.reader = reader
        self.steps: list[tuple[str, str, Place]] = []
        self.labels: dict[str, int] = {}
        self.breaks: list[list[int]] = []
        self.continues: list[list[int]] = []
        self.begin = place

    def add(self, application: str, arguments: str, place: Place) -> int:
        """Add a priority; its index."""
        self.steps.append((application, arguments, place))
        return len(self.steps) - 1

    def patch(self, index: int, arguments: str) -> None:
        """Write the arguments of a jump, now that it is known where it goes."""
        application, _, place = self.steps[index]
        self.steps[index] = (application, arguments, place)

    @property
    def next(self) -> int:
        """The number of the priority that comes next."""
        return len(self.steps) + 1

    def statement(self, depth: int) -> None:
        """One statement, or a block of them."""
        reader = self.reader
        if depth > _DEEPEST_BLOCK:
            raise NotUnderstood("too many blocks within each other")
        if reader.take("{"):
            while not reader.take("}"):
                if not reader.peek():
                    raise NotUnderstood("} is wanted")
                self.statement(depth + 1)
            return
        if reader.take(";"):
            return
        place = reader.place
        if reader.take("&"):
            self._macro_call(place)
            return
        begin, word = reader.at, reader.word()
        compiled = {
            "if": self._if, "ifTime": self._if_time, "random": self._random, "while": self._while, "for": self._for,
            "switch": self._switch,
        }.get(word)  # fmt: skip  # rows that belong together
        if compiled is not None and reader.peek() == "(":
            compiled(place, depth)
        elif word in ("goto", "jump"):
            self._goto(word, reader.upto(";"), place)
            reader.need(";")
        elif word in ("return", "break", "continue"):
            self._leave(word, place)
        else:
            reader.at = begin
            self._other(place)

    def _macro_call(self, place: Place) -> None:
        name = self.reader.word()
        given = self.reader.bracket() if self.reader.peek() == "(" else ""
        self.reader.take(";")
        self.add("Gosub", f"{name},{MACRO_EXTENSION},1({given})", place)

    def _leave(self, word: str, place: Place) -> None:
        self.reader.take(";")
        if word == "return":
            self.add("Return", "", place)
            return
        index = self.add("Goto", "", place)
        open_blocks = self.breaks if word == "break" else self.continues
        if open_blocks:
            open_blocks[-1].append(index)
        else:
            self.patch(index, str(self.next))

    def _other(self, place: Place) -> None:
        """A label, an assignment, or an application."""
        reader = self.reader
        text = reader.upto(";:{")
        if reader.take(":"):
            if not re.fullmatch(r"[\w.~-]+", text):
                raise NotUnderstood("a label is wanted")
            self.labels[text] = self.next
            return
        reader.need(";")
        text = text.removeprefix("local ")
        if found := re.match(r"([^=(]+(?:\([^)]*\))?)\s*=(?![=>])(.*)", text, re.DOTALL):
            value = found[2].strip()
            plain = re.fullmatch(r"[\w./@-]*|\"[^\"]*\"|\$\{[^{}]*\}", value)
            self.add("Set", f"{found[1].strip()}={value.strip(chr(34)) if plain else f'$[{value}]'}", place)
            return
        application, bracket, arguments = text.partition("(")
        if not re.fullmatch(r"\s*[A-Za-z_]\w*\s*", application):
            raise NotUnderstood("a statement is wanted")
        end = arguments.rfind(")")
        self.add(application.strip(), arguments[:end] if bracket and end >= 0 else "", place)

    def _goto(self, word: str, text: str, place: Place) -> None:
        if word == "jump":
            text, _, context = text.partition("@")
            value, *priority = text.replace("|", ",").split(",")
            target = [*([context.strip()] if context else []), value.strip(), *(priority[:1] or ["1"])]
            self.add("Goto", ",".join(target), place)
            return
        pieces = [piece.strip() for piece in text.replace("|", ",").split(",")]
        if pieces[0] == "default" and len(pieces) == 1:
            raise NotUnderstood("a label is wanted")
        self.add("Goto", ",".join(pieces), place)

    # --- blocks ------------------------------------------------------------------------------------------------------

    def _branch(self, test: int, condition: str, depth: int) -> None:
        """The two sides of a branch whose test was added at an index."""
        self.statement(depth + 1)
        reader = self.reader
        reader.skip()
        if re.match(r"else\b", reader.text[reader.at : reader.at + 5]):
            reader.at += 4
            out = self.add("Goto", "", reader.place)
            self.patch(test, f"{condition}?{test + 2}:{self.next}")
            self.statement(depth + 1)
            self.patch(out, str(self.next))
        else:
            self.patch(test, f"{condition}?{test + 2}:{self.next}")
        self._landing(reader.place)

    def _landing(self, place: Place) -> None:
        """A step that jumps can go to when nothing follows."""
        self.add("NoOp", "", place)

    def _if(self, place: Place, depth: int) -> None:
        condition = self.reader.bracket()
        self._branch(self.add("GotoIf", "", place), f"$[{condition}]", depth)

    def _if_time(self, place: Place, depth: int) -> None:
        times = self.reader.bracket().replace("|", ",").replace("?", "")
        self._branch(self.add("GotoIfTime", "", place), times, depth)

    def _random(self, place: Place, depth: int) -> None:
        self.reader.bracket()
        self._branch(self.add("GotoIfTime", "", place), "random", depth)

    def _loop(self, test: int, condition: str, again: int, depth: int, increment: str, place: Place) -> None:
        self.breaks.append([])
        self.continues.append([])
        self.statement(depth + 1)
        onward = self.next
        if increment:
            self._assign(increment, place)
        self.add("Goto", str(again), place)
        self.patch(test, f"$[{condition}]?{test + 2}:{self.next}")
        for index in self.breaks.pop():
            self.patch(index, str(self.next))
        for index in self.continues.pop():
            self.patch(index, str(onward))
        self._landing(self.reader.place)

    def _assign(self, text: str, place: Place) -> None:
        name, equals, value = text.partition("=")
        if equals:
            self.add("Set", f"{name.strip()}=$[{value.strip()}]", place)
        else:
            self.add("NoOp", text, place)

    def _while(self, place: Place, depth: int) -> None:
        condition = self.reader.bracket()
        again = self.next
        self._loop(self.add("GotoIf", "", place), condition, again, depth, "", place)

    def _for(self, place: Place, depth: int) -> None:
        begin, condition, increment = (*(part.strip() for part in parts(self.reader.bracket(), ";")), "", "", "")[:3]
        self._assign(begin, place)
        again = self.next
        self._loop(self.add("GotoIf", "", place), condition, again, depth, increment, place)

    def _switch(self, place: Place, depth: int) -> None:
        """Each case is a test of its own, before all the code; a case without an end runs into the next one."""
        value = self.reader.bracket()
        self.reader.need("{")
        self.breaks.append([])
        dispatch = self.add("Goto", "", place)
        cases: list[tuple[str, str, int, Place]] = []
        while not self.reader.take("}"):
            here, begin, word = self.reader.place, self.reader.at, self.reader.word()
            if word in ("case", "pattern", "default"):
                label = "" if word == "default" else self.reader.upto(":").strip()
                self.reader.need(":")
                cases.append((word, label, self.next, here))
            else:
                self.reader.at = begin
                self.statement(depth + 1)
        self.breaks[-1].append(self.add("Goto", "", place))
        self.patch(dispatch, str(self.next))
        for kind, label, number, here in cases:
            if kind == "case":
                self.add("GotoIf", f'$["{value}" = "{label}"]?{number}', here)
            elif kind == "pattern":
                self.add("GotoIfTime", f"pattern?{number}", here)
        for kind, _, number, here in cases:
            if kind == "default":
                self.add("Goto", str(number), here)
        for index in self.breaks.pop():
            self.patch(index, str(self.next))
        self._landing(self.reader.place)
