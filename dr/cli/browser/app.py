"""The screen of `dr browse`: points on a time line, the files of one, the versions of a file, and what is ticked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar

from rich.text import Text
from textual import events, on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Input, Label, OptionList
from textual.widgets.option_list import Option

from dr.cli.browser.dialogs import HELP, Answer, FindDialog, RecoverDialog, TextDialog, WorkingDialog
from dr.cli.browser.look import LOOK
from dr.cli.browser.shelf import MOST_FOUND, Chosen, Key, Shelf, is_below
from dr.cli.browser.tree import FileTree, Item, Node, Pane
from dr.cli.typed import whole_path
from dr.errors import DrError, UsageError, every_error, with_hint
from dr.evidence.file_version import Found, Version
from dr.evidence.record import Drill, Point
from dr.report.browse import (
    Tone,
    came_back_lines,
    chosen_line,
    day_of,
    mark_of,
    moment_of,
    time_of,
    version_label,
)
from dr.tools import activity, command

if TYPE_CHECKING:
    from dr.operations.lifecycle import Finished

P = ParamSpec("P")
T = TypeVar("T")
_STYLES: dict[Tone, str] = {"good": "green", "plain": "", "odd": "yellow", "bad": "red"}


class Browser(App[None]):
    """Walks through the points of a system. `done` are the recoveries that were made, `heard` what else was told."""

    ENABLE_COMMAND_PALETTE = False
    CSS = LOOK
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "Tick"),
        Binding("r", "recover", "Recover"),
        Binding("slash", "find", "Find", key_display="/"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False),
    ]

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self.shelf = shelf
        self.done: list[Finished[Drill]] = []
        self.heard: list[str] = []
        self.point: Point | None = None
        self._points: list[Point] = []
        self._versions: list[Version] = []
        self._ticked: dict[str, set[Key]] = {}
        self._answer = Answer("", "")

    def compose(self) -> ComposeResult:
        """See `App`."""
        yield Label(f"{self.shelf.system}: reading which files its points hold …", id="head", markup=False)
        with Horizontal():
            yield Pane(id="points", markup=False)
            yield FileTree()
        yield Pane(id="versions", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Name the panes, and read the points."""
        for name, title in (("points", "Points (UTC)"), ("files", "Files"), ("versions", "Versions")):
            self.query_one(f"#{name}").border_title = title
        self.begin_capture_print(self)
        self._read_points()

    def on_print(self, event: events.Print) -> None:
        """Keep what would be printed over the screen, to be told afterwards."""
        if event.stderr:
            self.heard.append(event.text)

    # -- points -----------------------------------------------------------------------------------------

    @work(exclusive=True, group="points")
    async def _read_points(self) -> None:
        try:
            self._points = await _beside(self.shelf.points)
        except DrError as error:
            self._tell(error)
            return
        listed = self.query_one("#points", OptionList)
        listed.add_options(list(self._lines()))
        if not self._points:
            self.query_one("#head", Label).update(f"{self.shelf.system}: no recovery point holds files yet")
            return
        listed.focus()
        listed.highlighted = listed.get_option_index(self._points[0].run_id)

    def _lines(self) -> Iterator[Option]:
        """Yield the time line: a line for each day, and below it those of its points."""
        day = ""
        for point in self._points:
            if day_of(point) != day:
                day = day_of(point)
                yield Option(Text(day, style="bold"), disabled=True)
            mark, tone = mark_of(point)
            yield Option(Text.assemble(f" {time_of(point)}  ", (mark, _STYLES[tone])), id=point.run_id)

    @on(OptionList.OptionHighlighted, "#points")
    def _go_to_time(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_id is not None:
            self._show(event.option_id)

    def _go_to(self, run_id: str, key: Key | None) -> None:
        """Go to a point, and there to an entry."""
        listed = self.query_one("#points", OptionList)
        with listed.prevent(OptionList.OptionHighlighted):
            listed.highlighted = listed.get_option_index(run_id)
        self._show(run_id, key)

    @work(exclusive=True, group="tree")
    async def _show(self, run_id: str, key: Key | None = None) -> None:
        """Show the files of a point, opened down to an entry: the one that the cursor was on, where none is named."""
        tree = self.query_one(FileTree)
        if key is None and tree.cursor_node is not None and tree.cursor_node.data is not None:
            key = tree.cursor_node.data.key
        self.point = next(point for point in self._points if point.run_id == run_id)
        tree.ticked = self._ticked.setdefault(run_id, set())
        tree.show_point(self.point)
        self._head()
        if key is None or not await self._reveal(key):
            for node in tree.root.children if len(tree.root.children) == 1 else ():
                await self._read(node)
                node.expand()
            tree.cursor_line = 0

    # -- the tree ---------------------------------------------------------------------------------------

    @on(FileTree.NodeExpanded)
    def _opened(self, event: FileTree.NodeExpanded[Item]) -> None:
        if event.node.data is not None and not event.node.data.read:
            self._read_later(event.node)

    @on(FileTree.NodeSelected)
    def _selected(self, event: FileTree.NodeSelected[Item]) -> None:
        if event.node.data is not None and event.node.data.after is not None:
            self._read_later(event.node)

    @work(group="tree")
    async def _read_later(self, node: Node) -> None:
        await self._read(node)

    async def _read(self, node: Node) -> None:
        """Read a source, a folder, or the next page of one, once."""
        item, point, tree = node.data, self.point, self.query_one(FileTree)
        if item is None or item.read or point is None:
            return
        item.read = True
        try:
            if item.entry is None:
                tree.add_tops(node, await _beside(self.shelf.tops, point, item.source))
                return
            page = await _beside(self.shelf.page, point, item.source, item.entry.path, item.after)
        except DrError as error:
            item.read = False
            self._tell(error)
            return
        if point is not self.point:
            return  # another point was chosen meanwhile
        if item.after is None:
            tree.add_page(node, page)
        elif (folder := node.parent) is not None:
            node.remove()
            tree.add_page(folder, page)

    async def _reveal(self, key: Key) -> bool:
        """Open the tree down to an entry and go there; False where this point has none of that name."""
        tree, point, (source, path) = self.query_one(FileTree), self.point, key
        if point is None or await _beside(self.shelf.entry, point, source, path) is None:
            return False
        node = next((each for each in tree.root.children if each.data and each.data.source == source), None)
        while node is not None:
            await self._read(node)
            node.expand()
            below = await self._towards(node, source, path)
            if below is None or (below.data and below.data.key == key):
                node = below
                break
            node = below
        if node is None:
            return False
        tree.call_after_refresh(tree.move_cursor, node)
        return True

    async def _towards(self, node: Node, source: str, path: bytes) -> Node | None:
        """Return the child of an opened node that is an entry, or leads to it."""
        item, tree, point = node.data, self.query_one(FileTree), self.point
        if item is None or point is None:
            return None
        if item.entry is None:
            keys = [(each, each.data.key) for each in node.children if each.data and each.data.key]
            return next((each for each, key in keys if key and is_below((source, path), {key})), None)
        folder = item.entry.path.rstrip(b"/") + b"/"
        step = folder + path[len(folder) :].partition(b"/")[0]
        entry = await _beside(self.shelf.entry, point, source, step)
        return tree.child_of(node, entry) if entry is not None else None

    @on(FileTree.NodeHighlighted)
    def _look_at(self, event: FileTree.NodeHighlighted[Item]) -> None:
        entry = event.node.data.entry if event.node.data is not None and event.node.data.after is None else None
        self._show_versions(entry if entry is not None and entry.kind != "dir" else None)

    # -- versions ---------------------------------------------------------------------------------------

    @work(exclusive=True, group="versions")
    async def _show_versions(self, entry: Found | None) -> None:
        listed = self.query_one("#versions", OptionList)
        self._versions = []
        if entry is not None:
            try:
                self._versions = await _beside(self.shelf.history, entry.source, entry.path)
            except DrError as error:
                self._tell(error)
        listed.clear_options()
        name = entry.path.rpartition(b"/")[2].decode("utf-8", "replace") if entry else ""
        listed.border_title = f"Versions of {name}" if entry else "Versions"
        listed.add_options([Option(version_label(each, self._points[0])) for each in self._versions])
        listed.highlighted = 0 if self._versions else None

    @on(OptionList.OptionSelected, "#versions")
    def _go_to_version(self, event: OptionList.OptionSelected) -> None:
        version = self._versions[event.option_index]
        self._go_to(version.points[0], (version.entry.source, version.entry.path))

    # -- what keys do -----------------------------------------------------------------------------------

    def action_tick(self) -> None:
        """Tick what is under the cursor, or take its tick away."""
        tree = self.query_one(FileTree)
        node = tree.cursor_node
        key = node.data.key if node is not None and node.data is not None else None
        if self.point is None or node is None or key is None:
            self.notify("Go to a file or a folder first: Tab leads to the next pane.", markup=False)
            return
        ticked = self._ticked[self.point.run_id]
        if key in ticked:
            ticked.discard(key)
        elif is_below(key, ticked):
            self.notify("A folder above is ticked, with all that is in it: take that tick away first.", markup=False)
            return
        else:
            ticked -= {each for each in ticked if is_below(each, {key})}
            ticked.add(key)
        node.refresh()
        tree.refresh()  # what lies in a folder is shown as ticked too
        self._head()
        tree.action_cursor_down()

    def action_help(self) -> None:
        """Show the keys, and what the words mean."""
        self.push_screen(TextDialog("Help", HELP))

    def action_find(self) -> None:
        """Find files in all points."""

        def go(found: object) -> None:
            if isinstance(found, Version):
                self._go_to(found.points[0], (found.entry.source, found.entry.path))
                self.query_one(FileTree).focus()

        self.push_screen(FindDialog(), go)

    @on(Input.Submitted, "#text")
    @work(exclusive=True, group="find")
    async def _find(self, event: Input.Submitted) -> None:
        dialog, text = self.screen, event.value.strip()
        if not text or not isinstance(dialog, FindDialog):
            return
        try:
            found, near = await _beside(self.shelf.find, text)
        except DrError as error:
            self._tell(error)
            return
        said = f"{len(found):,} found" if found else f"nothing is like {text!r}"
        said = f"the newest {MOST_FOUND} of more: write more of the name" if len(found) > MOST_FOUND else said
        said = f"{said}; names like it: {', '.join(near)}" if near else said
        if dialog.is_current:
            dialog.show(found[:MOST_FOUND], said)

    @work(exclusive=True, group="recover")
    async def action_recover(self) -> None:
        """Bring back what is ticked."""
        point = self.point
        ticked = self._ticked[point.run_id] if point is not None else set()
        if point is None or not ticked:
            self.notify("Tick files or folders first, with the space bar.", markup=False)
            return
        try:
            chosen = await _beside(self.shelf.choose, point, frozenset(ticked))
        except DrError as error:
            self._tell(error)
            return
        problem = ""
        what = chosen_line(chosen.entries, point)
        while answer := await self.push_screen_wait(RecoverDialog(what, self._answer, problem)):
            assert isinstance(answer, Answer)  # noqa: S101 - its only result
            self._answer = answer
            problem = await self._recover(chosen, whole_path(Path(answer.to)), answer.because)
            if not problem:
                return

    async def _recover(self, chosen: Chosen, to: Path, because: str) -> str:
        """Do it, and tell how it went; return what is in the way, where nothing was done."""
        working = WorkingDialog(f"{chosen_line(chosen.entries, chosen.point)}\ninto {to}")
        await self.push_screen(working)

        def watch(told: activity.Activity) -> None:
            if told.event == "step":
                self.call_from_thread(working.show, told.step)

        try:
            with activity.watching(watch):
                finished = await _beside(self.shelf.recover, chosen, to, because)
        except UsageError as error:
            return str(error)  # its hint is an option of the command line
        except DrError as error:
            return _in_words(error)
        finally:
            command.resume()
            working.dismiss()
        self.done.append(finished)
        fact = finished.record
        if fact.outcome == "ok":
            self._ticked[chosen.point.run_id].clear()
            self.query_one(FileTree).untick()
            self._head()
        title = "Recovered" if fact.outcome == "ok" else "Not all of it came back"
        self.push_screen(TextDialog(title, "\n".join(came_back_lines(fact, str(to)))))
        return ""

    def action_stop_work(self) -> None:
        """Ask what runs to stop."""
        command.interrupt_all()

    async def action_quit(self) -> None:
        """Leave; what runs is asked to stop."""
        command.interrupt_all()
        self.exit()

    # -- what is told -----------------------------------------------------------------------------------

    def _head(self) -> None:
        if self.point is None:
            return
        count = len(self._ticked[self.point.run_id])
        said = f"{self.shelf.system}, {moment_of(self.point)}: {mark_of(self.point)[0]}"
        if self.point.suspect:
            said += f" ({self.point.suspect})"
        self.query_one("#head", Label).update(f"{said}; {count} ticked" if count else said)

    def _tell(self, error: DrError) -> None:
        self.notify(_in_words(error), severity="error", timeout=15, markup=False)
        self.heard.append(f"dr: {_in_words(error)}\n")


def _in_words(error: DrError) -> str:
    return with_hint(str(error), error.hint)


async def _beside(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something in a thread, so that the screen goes on; any error is one of ours."""

    def done() -> T:
        with every_error():
            return act(*args, **kwargs)

    return await asyncio.to_thread(done)
