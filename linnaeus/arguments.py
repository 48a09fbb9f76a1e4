"""What a public call takes: paths where a location is wanted, one where several may be given.

The annotations say it and are held to it, so that a wrong argument is named before anything is
done, and not by an error from inside.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:  # inside of a checked method they are text, which no type can say
    Location = Any
    Locations = Any
    Words = Sequence[str]
else:
    Location = str | os.PathLike[str]
    """A local path or a URI."""
    Locations = Location | Sequence[Location]
    Words = str | Sequence[str]

Call = TypeVar("Call", bound=Callable[..., Any])


def checked(call: Call) -> Call:
    """The method, given text for its locations and sequences of text for what may be several.

    Raises:
        ConfigurationError: by the method, for an argument of another type than it says.
    """
    signature = inspect.signature(call)
    called = call.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    wanted = {name: parameter.annotation for name, parameter in signature.parameters.items()}

    @functools.wraps(call)
    def checking(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return call(*args, **kwargs)  # for Python's own words, which name the method
        for name, value in bound.arguments.items():
            fitted = _fitted(value, wanted[name])
            if fitted is _WRONG:
                takes = _TAKES[wanted[name]]
                raise ConfigurationError(f"{called}: {name} is {takes}, not {value!r:.80}")
            bound.arguments[name] = fitted
        return call(*bound.args, **bound.kwargs)

    return cast(Call, checking)


_WRONG = object()
_TAKES: Mapping[Any, str] = {
    str: "text",
    str | None: "text or None",
    Location: "a path or URI",
    Location | None: "a path or URI, or None",
    Locations: "a path or URI, or a sequence of them",
    Words: "text or a sequence of texts",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
}
_NUMBERS: Mapping[Any, type] = {bool: bool, int: Integral, float: Real}
"""What counts for them; NumPy's numbers do."""


def _fitted(value: Any, wanted: Any) -> Any:
    """The argument as the method handles it; `_WRONG` if it is nothing of the kind."""
    if wanted not in _TAKES or (value is None and type(None) in get_args(wanted)):
        return value
    if wanted in _NUMBERS:
        return wanted(value) if isinstance(value, _NUMBERS[wanted]) else _WRONG
    if wanted in (Words, Locations):
        several = isinstance(value, Iterable) and not isinstance(value, str)
        one = str if wanted == Words else Location
        fitted = tuple(_fitted(each, one) for each in (value if several else [value]))
        return _WRONG if _WRONG in fitted else fitted
    if isinstance(value, os.PathLike) and wanted in (Location, Location | None):
        value = os.fspath(value)
    return value if isinstance(value, str) else _WRONG
