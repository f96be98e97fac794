"""Value: a frozen record whose class costs nothing to create.

A launch defines some forty kinds of events, effects and nouns before it can start a worker. As NamedTuples their
classes cost 0.8 million instructions each, a fifth of the whole cold start (attrs: 3.2 million each); as Values
they cost next to nothing. Instances are a little slower to make, which nobody notices: there are few.
"""

from typing import Any, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Value:
    """Base of frozen records: fields are the annotations in order, defaults the values given with them.

    Equal when of one class with equal fields; hashable when the fields are. Raises TypeError for arguments that
    do not fit, as a function would.
    """

    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(name for name in cls.__annotations__ if not name.startswith("_"))

    def __init__(self, *args: Any, **named: Any) -> None:
        fields = self._fields
        if len(args) == len(fields) and not named:
            self.__dict__.update(zip(fields, args, strict=True))
            return
        given = dict(zip(fields, args, strict=False))
        if len(args) > len(fields) or given.keys() & named.keys() or not named.keys() <= set(fields):
            raise TypeError(f"{type(self).__name__} takes {', '.join(fields) or 'nothing'}; got {args}, {named}")
        given.update(named)
        for name in fields:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs {name}")
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use _replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def _astuple(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._fields])

    def _asdict(self) -> dict[str, Any]:
        """The fields by name, in order."""
        return {name: getattr(self, name) for name in self._fields}

    def _replace(self, **changes: Any) -> Self:
        """A copy with some fields changed. Raises TypeError for a name that is no field."""
        if not changes.keys() <= set(self._fields):
            raise TypeError(f"{type(self).__name__} has no {', '.join(changes.keys() - set(self._fields))}")
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.__dict__.update(changes)
        return copy

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Value):
            return NotImplemented
        return self._astuple() == other._astuple()

    def __hash__(self) -> int:
        return hash((type(self), self._astuple()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({shown})"
