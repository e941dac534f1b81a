"""The files of one point as a tree: each folder is read when it is opened, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import OptionList, Tree
from textual.widgets.tree import TreeNode

from dr.cli.browser.shelf import Key, is_below
from dr.evidence.file_version import Found
from dr.evidence.record import Point
from dr.queries.file_pages import PAGE
from dr.report.browse import entry_label


@dataclass
class Item:
    """What a node stands for: a source, an entry of it, or what a folder holds behind the name `after`."""

    source: str
    entry: Found | None = None
    after: bytes | None = None
    read: bool = False

    @property
    def key(self) -> Key | None:
        """What can be ticked."""
        return (self.source, self.entry.path) if self.entry is not None and self.after is None else None


Node = TreeNode[Item]


#: Where it is not named by each pane itself, textual's own hides it.
NEXT = Binding("tab", "app.focus_next", "Next pane", key_display="Tab")


class Pane(OptionList):
    """A list beside the tree."""

    BINDINGS: ClassVar[list[BindingType]] = [NEXT]


class FileTree(Tree[Item]):
    """A tree whose entries can be ticked. The screen reads folders, and keeps what is ticked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "app.tick", "Tick"),
        NEXT,
        Binding("right", "open", "Open", show=False),
        Binding("left", "shut", "Close", show=False),
    ]

    def __init__(self) -> None:
        super().__init__("", id="files")
        self.show_root, self.guide_depth, self.auto_expand = False, 2, True
        self.ticked: Collection[Key] = ()

    def show_point(self, point: Point) -> None:
        """Show the sources of a point, closed."""
        self.clear()
        for source in sorted(point.kinds):
            self.root.add(f"{source} ({point.kinds[source]})", Item(source))
        self.root.expand()

    def add_tops(self, node: Node, entries: Sequence[Found]) -> None:
        """Add what a source holds at the top, by its whole path."""
        for entry in entries:
            self._add(node, entry, whole=True)

    def add_page(self, node: Node, entries: Sequence[Found]) -> None:
        """Add a page of a folder, and a line for what follows where there is more."""
        for entry in entries[:PAGE]:
            self._add(node, entry, whole=False)
        if len(entries) > PAGE and node.data is not None:
            last = entries[PAGE - 1]
            after = last.path.rpartition(b"/")[2]
            node.add_leaf(
                f"… more behind {_name(last)}: Enter shows them", Item(node.data.source, node.data.entry, after)
            )

    def _add(self, node: Node, entry: Found, *, whole: bool) -> Node:
        label = Text(entry_label(entry, whole=whole))
        return node.add(label, Item(entry.source, entry), allow_expand=entry.kind == "dir")

    def child_of(self, node: Node, entry: Found) -> Node:
        """Return the node of an entry of a folder that was read; added where it is on no page shown yet."""
        for child in node.children:
            if child.data is not None and child.data.key == (entry.source, entry.path):
                return child
        return self._add(node, entry, whole=False)

    def untick(self) -> None:
        """Show every entry again after all ticks were taken away."""
        self.root.refresh()
        self.refresh()

    def render_label(self, node: Node, base_style: Style, style: Style) -> Text:
        """Put the tick before the name of what can be ticked."""
        text = super().render_label(node, base_style, style)
        if node.data is None or (key := node.data.key) is None:
            return text
        return Text.assemble(("[x] " if is_below(key, self.ticked) else "[ ] ", style), text)

    def action_open(self) -> None:
        """Open the folder under the cursor."""
        if self.cursor_node is not None and self.cursor_node.allow_expand:
            self.cursor_node.expand()

    def action_shut(self) -> None:
        """Close the folder under the cursor, or else go to the one it lies in."""
        node = self.cursor_node
        if node is not None and node.is_expanded and node.allow_expand:
            node.collapse()
        else:
            self.action_cursor_parent()


def _name(entry: Found) -> str:
    return entry_label(entry, whole=False).partition("  ")[0]
