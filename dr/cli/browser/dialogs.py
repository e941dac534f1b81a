"""What the browser asks and tells over its screen: help, what to find, where to, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Label, OptionList
from textual.widgets.option_list import Option

from dr.evidence.file_version import Version
from dr.report.browse import match_label

HELP = """\
Choose a point on the left: its files are on the right. Below are the
versions of the file under the cursor; Enter on one goes to its point.

  Tab           go to the next pane
  Right, Left   open and close a folder
  Space         tick a file, or a folder with all that is below it
  r             recover what is ticked into a directory
  /             find files in all points by a part of their names
  q             leave

proven to 4     the level of proof that was shown, as in `dr points`
not proven      stored; nothing of it was looked at since
suspect         out of the ordinary: look before you rely on it
incomplete, damaged, lost, doubtful      not all of it is there

Ticks belong to the point they were made in. All times are UTC."""


class _Dialog(ModalScreen[object]):
    """A box over the screen; Escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back")]


class TextDialog(_Dialog):
    """A text to read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "dismiss", "Back"),
        Binding("q", "dismiss", "Back", show=False),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """See `Screen`."""
        with Vertical(classes="box") as box:
            box.border_title = self._title
            yield Label(self._text, markup=False)
        yield Footer()


class WorkingDialog(ModalScreen[None]):
    """What is being done; Escape asks it to stop."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.stop_work", "Stop"),
        Binding("ctrl+c", "app.stop_work", "Stop", show=False),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """See `Screen`."""
        with Vertical(classes="box") as box:
            box.border_title = "Bringing back"
            yield Label(self._text, markup=False)
            yield Label("…", id="step", markup=False)
        yield Footer()

    def show(self, step: str) -> None:
        """Show what is done now."""
        self.query_one("#step", Label).update(step)


@dataclass(frozen=True)
class Answer:
    """Where to, and why."""

    to: str
    because: str


class RecoverDialog(_Dialog):
    """Asks where to bring back what is chosen, and why. Its result is an `Answer`, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Recover", show=True)]

    def __init__(self, what: str, answer: Answer, problem: str = "") -> None:
        super().__init__()
        self._what, self._answer, self._problem = what, answer, problem

    def compose(self) -> ComposeResult:
        """See `Screen`."""
        with Vertical(classes="box") as box:
            box.border_title = "Recover what is ticked"
            yield Label(self._what, markup=False)
            yield Label("Into which new or empty directory? Each file lies there below its source and whole path.")
            yield Input(self._answer.to, placeholder="/srv/one", id="to")
            yield Label("Why, and for whom? It is kept as evidence.")
            yield Input(self._answer.because, placeholder="asked for by a teacher", id="because")
            if self._problem:
                yield Label(self._problem, classes="bad", markup=False)
            yield Label("Enter recovers, Escape goes back and does nothing.")
        yield Footer()

    @on(Input.Submitted, "#to")
    def _next(self) -> None:
        self.query_one("#because", Input).focus()

    @on(Input.Submitted, "#because")
    def action_submit(self) -> None:
        """Recover."""
        to, because = (self.query_one(f"#{name}", Input).value.strip() for name in ("to", "because"))
        if to:
            self.dismiss(Answer(to, because))
        else:
            self.query_one("#to", Input).focus()


class FindDialog(_Dialog):
    """Asks for a part of a name, and lists what is found. Its result is a `Version`, or None."""

    def __init__(self) -> None:
        super().__init__()
        self._found: Sequence[Version] = ()

    def compose(self) -> ComposeResult:
        """See `Screen`."""
        with Vertical(classes="box tall") as box:
            box.border_title = "Find in all points"
            yield Input(placeholder="a part of a name, or a pattern with * and ?", id="text")
            yield Label("Enter looks for it; Enter on a file goes to the newest point that holds it.", id="said")
            yield OptionList(id="found", markup=False)
        yield Footer()

    def show(self, found: Sequence[Version], said: str) -> None:
        """Show what was found."""
        self._found = found
        self.query_one("#said", Label).update(said)
        listed = self.query_one("#found", OptionList)
        listed.clear_options()
        listed.add_options([Option(match_label(version)) for version in found])
        if found:
            listed.focus()
            listed.highlighted = 0

    @on(OptionList.OptionSelected, "#found")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index])
