"""From what a page says to its text: templates, one style sheet and one script, all inside it."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from linnaeus.errors import ConfigurationError
from linnaeus.plain_text import plain_lines


def render(template: str, **facts: Any) -> str:
    """The whole page. Whatever a fact holds is text, and never becomes markup.

    Raises:
        ConfigurationError: jinja2 is not installed.
    """
    page: str = _environment().get_template(template).render(facts)
    return page


def percent(share: float) -> str:
    """`91.2 %`."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    """`1,234` of whole numbers, three digits of others."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"


def images_text(count: int) -> str:
    """`1 picture`, `1,234 pictures`."""
    return f"{count:,} picture" if count == 1 else f"{count:,} pictures"


def settings_text(settings: Mapping[str, Any]) -> str:
    """`l2 0.01, hidden 50 50`."""
    return ", ".join(f"{name.replace('_', ' ')} {_word(value)}" for name, value in settings.items())


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_word, value)) or "none"
    return number(value) if isinstance(value, int | float) else str(value)


@cache
def _environment() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as e:
        raise ConfigurationError(
            "pages need jinja2, which is not installed: pip install 'linnaeus[report]'"
        ) from e
    from markupsafe import Markup

    loader = PackageLoader("linnaeus.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        finalize=lambda fact: plain_lines(fact) if type(fact) is str else fact,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, number=number, images=images_text, settings=settings_text
    )
    script, style = (loader.get_source(environment, name)[0] for name in ("script.js", "style.css"))
    environment.globals.update(
        script=Markup(script),
        style=Markup(style),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return environment
