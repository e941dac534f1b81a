"""Dataclasses made when needed are the classes that `dataclasses` makes: for threads, heirs and the interrupted too."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from dr.errors import InterruptedRunError
from dr.late_dataclass import dataclass


def _classes(decorator: Any) -> tuple[Any, Any, Any]:
    @decorator(frozen=True, order=True)
    class Parent:
        name: str
        tags: list[str] = field(default_factory=list, compare=False)

    @decorator(frozen=True)
    class Child(Parent):
        size: int = field(default=3, kw_only=True)

    class Grandchild(Child):
        def __init__(self) -> None:
            super().__init__("own", size=5)

    return Parent, Child, Grandchild


def _what_it_is(parent: Any, child: Any, grandchild: Any) -> list[object]:
    one = child("a")
    return [
        repr(one), repr(grandchild()), dataclasses.asdict(dataclasses.replace(one, name="b", size=4)),
        one == child("a"), one == child("b"), hash(one) == hash(child("a")), parent("a") < parent("b"),
        one.tags is not child("a").tags, [(each.name, each.default) for each in dataclasses.fields(child)],
        child.__match_args__, hasattr(parent, "tags"), _raised(lambda: child()), _raised(lambda: child("a", sise=1)),
        _raised(lambda: setattr(one, "name", "c")), _raised(lambda: delattr(one, "name")),
    ]  # fmt: skip


def _raised(act: Callable[[], object]) -> str:
    with pytest.raises((TypeError, AttributeError)) as caught:
        act()
    return f"{caught.type.__name__}: {caught.value}"


def test_a_class_made_late_is_what_dataclasses_makes_of_it() -> None:
    assert _what_it_is(*_classes(dataclass)) == _what_it_is(*_classes(dataclasses.dataclass))


def _simple_classes(decorator: Any) -> list[Any]:
    @decorator(frozen=True, kw_only=True)
    class Some:
        name: str = "a"
        secret: str = field(default="b", repr=False)
        noted: list[int] = field(default_factory=list, compare=False)
        counted: float = field(default=float("nan"), hash=False)

    @decorator(frozen=True)
    class One(Some):
        name: str = "one"

    class Heir(One):
        """Not decorated."""

    @decorator
    class Open:
        inner: Any = None

    @decorator(frozen=True)
    class Single:
        value: float = 1

    @decorator(frozen=True)
    class Empty:
        pass

    @decorator(frozen=True)
    class Own:
        value: int = 1

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    return [Some, One, Heir, Open, Single, Empty, Own]


def _how_they_compare(classes: list[Any]) -> list[object]:
    values = [cls() for cls in classes] + [cls() for cls in classes]
    changed = [classes[0](secret="c"), classes[0](noted=[1]), classes[0](counted=0.5), classes[4](value=1.0)]
    values[3].inner = values[3]  # shows itself
    values[10].inner = 5
    found: list[object] = [repr(each) for each in (*values, *changed)]
    found += [one == two for one in (*values, *changed) for two in (*values, *changed, None, 1)]
    hashed = [each for each in (*values, *changed) if not isinstance(each, classes[3])]
    return [*found, *(hash(one) == hash(two) for one in hashed for two in hashed)]


def test_values_made_late_compare_hash_and_show_as_those_of_dataclasses_do() -> None:
    assert _how_they_compare(_simple_classes(dataclass)) == _how_they_compare(_simple_classes(dataclasses.dataclass))


def _mutable_classes(decorator: Any) -> list[Any]:
    @decorator
    class Open:
        value: int = 1

    class Heir(Open):
        """Not decorated."""

    @decorator
    class Shown(Open):
        def __repr__(self) -> str:
            return "shown"

    @decorator
    class Own(Open):
        def __hash__(self) -> int:
            return 7

    @decorator(eq=False)
    class Itself(Own):
        pass

    return [Open, Heir, Shown, Own, Itself]


@pytest.mark.parametrize("decorator", [dataclass, dataclasses.dataclass])
def test_what_compares_by_values_that_may_change_has_no_hash(decorator: Any) -> None:
    made = [cls() for cls in _mutable_classes(decorator)]
    told = [_raised(lambda each=each: hash(each)) for each in made[:3]]  # type: ignore[misc]
    assert [each.partition(" type: ")[0] for each in told] == ["TypeError: unhashable"] * 3
    assert [hash(each) for each in made[3:]] == [7, 7]


def test_whoever_asks_for_the_fields_of_a_class_without_values_has_it_made() -> None:
    parent, child, _ = _classes(dataclass)
    assert dataclasses.is_dataclass(parent) and [each.name for each in dataclasses.fields(child)] == [
        "name",
        "tags",
        "size",
    ]


def test_a_class_that_nobody_needs_is_not_made() -> None:
    parent, child, _ = _classes(dataclass)
    assert "__eq__" not in vars(parent) and "__eq__" not in vars(child)
    child("a")
    assert "__eq__" in vars(parent) and "__eq__" in vars(child)


def test_threads_that_need_a_class_at_once_all_get_whole_values() -> None:
    found: list[object] = []
    _, child, _ = _classes(dataclass)
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        found.append(child("a"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_what_interrupts_the_making_of_a_class_leaves_one_that_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    _, child, _ = _classes(dataclass)
    with monkeypatch.context() as patched:
        patched.setattr(dataclasses, "dataclass", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            child("a")
    assert child("a") == child("a")


def _interrupted(cls: type, **_: object) -> None:
    cls.__repr__ = lambda self: "half made"  # type: ignore[method-assign]
    raise KeyboardInterrupt


def test_an_error_made_late_is_raised_and_copied_like_any_other() -> None:
    error = InterruptedRunError("stopped", hint="go on")
    assert error.args == ("stopped",) and dataclasses.replace(error, where="there").where == "there"
    with pytest.raises(InterruptedRunError, match="stopped"):
        raise error
