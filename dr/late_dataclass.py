"""Dataclasses that are made when the first of their kind is needed.

`dataclasses.dataclass` writes five to nine methods of each class as text and has Python compile them: half a
millisecond a class. A command loads hundreds of these classes and makes values of a few. So here the decorator leaves
a class as it stands; its first value, or whoever asks for its fields, also by way of a class that inherits, has it
made. From then on it has what `dataclasses` gives it; what compares, hashes and shows a value is made without the
compiler, which takes a third off.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, **options):
        """Decorate as `dataclasses.dataclass` does, with its options; but for `slots`, which needs another class."""
        return _late(cls, options) if cls is not None else lambda cls: _late(cls, options)


#: Classes are made by one thread at a time; another that needs one waits.
_one = threading.RLock()
#: What a twin does not take over.
_OWN = ("__dict__", "__weakref__", "__init__", "__dataclass_fields__")


_ABSENT = object()
#: What `_complete` makes, for classes that have none of it themselves, and no other options than these.
_COMPLETED, _SIMPLE = {"__repr__", "__eq__", "__hash__"}, {"frozen", "kw_only"}


class _Fields:
    """In the place of a class's fields: who asks for them has the class made."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __get__(self, instance: object, owner: type) -> Any:
        self.make()
        return owner.__dataclass_fields__  # type: ignore[attr-defined]


def _late(cls: type, options: dict[str, Any]) -> type:
    def begin(self: Any, /, *args: Any, **kwargs: Any) -> None:
        make()
        cls.__init__(self, *args, **kwargs)  # type: ignore[misc]

    def make() -> None:
        with _one:
            if vars(cls).get("__init__") is begin:
                _make(cls, options)

    cls.__init__ = begin  # type: ignore[misc]
    cls.__dataclass_fields__ = _Fields(make)  # type: ignore[attr-defined]
    return cls


def _make(cls: type, options: dict[str, Any]) -> None:
    """Make a class: its twin is decorated, and lends it what it got, `__init__` last.

    So no thread meets a class that is half made, and what interrupts it leaves a class that can still be made: an
    interrupted run goes on record.
    """
    own = {name: value for name, value in vars(cls).items() if name not in _OWN}
    twin: Any = type(cls)(cls.__name__, cls.__bases__, own | {"__qualname__": cls.__qualname__})
    before = dict(vars(twin))
    if vars(twin).keys().isdisjoint(_COMPLETED) and options.keys() <= _SIMPLE:
        dataclasses.dataclass(twin, **options, repr=False, eq=False)
        _complete(twin, hashed=options.get("frozen", False))
    else:
        dataclasses.dataclass(twin, **options)
    made = {name: value for name, value in vars(twin).items() if before.get(name, _ABSENT) is not value}
    if options.get("frozen"):  # its own speak of the twin
        made |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    init = made.pop("__init__")
    for name, value in made.items():
        setattr(cls, name, value)
    for name in before.keys() & vars(cls).keys() - vars(twin).keys():
        delattr(cls, name)  # what stood there for a default that is made anew for each value
    cls.__init__ = init  # type: ignore[misc]


def _complete(cls: Any, *, hashed: bool) -> None:
    """Give a class the methods for which `dataclasses` would have text compiled."""
    fields = dataclasses.fields(cls)
    compared = _values([each.name for each in fields if each.compare])
    in_hash = _values([each.name for each in fields if (each.compare if each.hash is None else each.hash)])
    shown = [each.name for each in fields if each.repr]

    def equals(self: Any, other: Any) -> bool:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def show(self: Any) -> str:
        return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def hash_of(self: Any) -> int:
        return hash(in_hash(self))

    cls.__eq__, cls.__repr__ = equals, recursive_repr()(show)
    cls.__hash__ = hash_of if hashed else None  # what compares by values that may change is in no set


def _values(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    get = attrgetter(*names) if names else None  # of one name it returns no tuple
    return lambda self: (get(self),) if get else ()


def _refuse_to_set(self: object, name: str, value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
