"""The flags of older programs, as argparse and absl took them: a field of a dataclass is a flag.

`--flag=value`, `--flag value`; a boolean is `--flag`, `--noflag` or `--flag=true`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import Field, field, fields
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from linnaeus.errors import ConfigurationError

Flags = TypeVar("Flags")

_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def flag(default: Any, text: str, choices: Sequence[str] | None = None) -> Any:
    """A field that is a flag, with its default and its line of help."""
    return field(default=default, metadata={"help": text, "choices": choices})


def parse(kind: type[Flags], program: str, arguments: Sequence[str] | None = None) -> Flags:
    """Read the process's arguments, or those given, into a dataclass whose fields are flags.

    Raises:
        ConfigurationError: If a flag is unknown or its value is none of its type.
    """
    parser = _Parser(prog=f"python -m {program}", description=kind.__doc__)
    hints = get_type_hints(kind)
    for each in fields(kind):  # type: ignore[arg-type]
        _add(parser, each, hints[each.name])
    return kind(**vars(parser.parse_args(arguments)))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line in place of the list of all flags."""
        raise ConfigurationError(f"{message}; --help lists the flags")


def _add(parser: argparse.ArgumentParser, each: Field[Any], hint: Any) -> None:
    value_type = next((one for one in get_args(hint) if one is not type(None)), hint)
    text = each.metadata["help"].replace("%", "%%")
    default = "" if each.default in (None, "") else f" (default: {each.default})"
    described: dict[str, Any] = {"default": each.default, "help": text + default}
    if value_type is not bool:
        choices = each.metadata["choices"]
        parser.add_argument(f"--{each.name}", type=value_type, choices=choices, **described)
        return
    parser.add_argument(
        f"--{each.name}", nargs="?", const=True, type=_boolean, metavar="true|false", **described
    )
    parser.add_argument(
        f"--no{each.name}", dest=each.name, action="store_false", help=argparse.SUPPRESS
    )


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return value
