"""Options of a command made from the fields of configuration classes, with their help."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer


@dataclass(frozen=True)
class Panel:
    """Which fields of which classes are options, under which heading of the help."""

    title: str
    classes: tuple[type, ...]
    leave_out: frozenset[str] = frozenset()


def with_settings(command: Callable[..., None], panels: Iterable[Panel]) -> Callable[..., None]:
    """Give a command that ends in `**settings` an option for each field; None where not given.

    A field that several classes have is one option.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options: dict[str, inspect.Parameter] = {}
    for panel in panels:
        for name, option in _options(panel):
            options.setdefault(name, option)
    parameters = [*own, *options.values()]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def given(settings: Mapping[str, Any], *classes: type) -> dict[str, Any]:
    """Those settings that a person gave and that one of the classes has; lists as tuples."""
    known = {field.name for one in classes for field in fields(one)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name in known and value is not None and value != []
    }


def _options(panel: Panel) -> Iterable[tuple[str, inspect.Parameter]]:
    for one in panel.classes:
        hints = get_type_hints(one)
        for field in fields(one):
            if "help" in field.metadata and field.name not in panel.leave_out:
                yield field.name, _option(field, hints[field.name], panel.title)


def _option(field: Field[Any], hint: Any, title: str) -> inspect.Parameter:
    option = typer.Option(
        help=field.metadata["help"],
        show_default=_default_text(field),
        rich_help_panel=title,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_plain(hint) | None, option],
    )


def _plain(hint: Any) -> Any:
    """The type of one value on the command line: no None, and a list for several."""
    if get_origin(hint) is UnionType:
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    return list[get_args(hint)[0]] if get_origin(hint) is tuple else hint  # type: ignore[misc]


def _default_text(field: Field[Any]) -> str | bool:
    """What is shown as the default; nothing where there is none to speak of."""
    default = field.default
    if default is MISSING or default is None or default == () or default is False:
        return False
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default)
