"""A new workflow file: by a few questions, or by options and a look at the images."""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linnaeus.cli.session import Session
from linnaeus.errors import ConfigurationError, LinnaeusError
from linnaeus.plain_text import plain_lines
from linnaeus.progress import bytes_text, count_text

if TYPE_CHECKING:
    from linnaeus.workflow.file.first_look import Look

DEFAULT_MODEL = "labels"
DEFAULT_WORKSPACE = "./workspace"
_SHOWN_LABELS = 5


def init(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)
    ] = Path("workflow.toml"),
    images: Annotated[
        str | None,
        typer.Option(metavar="IMAGES", help="The images to label, as `linnaeus embed` takes them."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGES", help="Those with labels; by default the same, if they have any."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    look: Annotated[
        bool, typer.Option("--look/--no-look", help="Look at the images, and say what is there.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write a workflow file for `linnaeus run`, with every setting explained."""
    _check_place(file, force=force)
    given = Given(images, labels, model, _given_place(session))
    asks = sys.stdin.isatty() and not (yes or session.as_json)
    answers = (_ask if asks else _choose)(given, _looker(session, look=look))
    text = _checked_text(file, answers)
    file.write_text(text, encoding="utf-8")
    session.show(_facts(file, answers), _conclusion(file, answers))


@dataclass(frozen=True)
class Given:
    """What the command line says; None where it says nothing."""

    images: str | None
    labels: str | None
    model: str | None
    workspace: str | None


@dataclass(frozen=True)
class Answers:
    """What goes into the file."""

    images: str
    labels: str | None
    model: str
    workspace: str
    look: "Look | None"


_Looker = Callable[[str], "Look | None"]


def _check_place(file: Path, *, force: bool) -> None:
    if file.is_dir():
        raise ConfigurationError(
            f"{file}: a folder; name a file in it, such as {file}/nightly.toml"
        )
    if not file.parent.is_dir():
        raise ConfigurationError(f"{file}: there is no folder {file.parent}: make it first")
    if file.exists() and not force:
        raise ConfigurationError(f"{file} exists: name another file, or --force replaces it")


def _given_place(session: Session) -> str | None:
    """None where neither the command line nor the environment names one."""
    named = "workspace" in session.given or session.workspace_uri != DEFAULT_WORKSPACE
    return session.workspace_uri if named else None


def _looker(session: Session, *, look: bool) -> _Looker:
    @cache
    def at(images: str) -> "Look | None":
        try:
            from linnaeus.workflow.file.first_look import look_at
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"workflow files need {error.name}: pip install 'linnaeus[workflow]'"
            ) from error
        if not look:
            return None
        with session.progress.step("Look at the images", None):
            return look_at(images)

    return at


def _choose(given: Given, looker: _Looker) -> Answers:
    """Without a person to ask."""
    if given.images is None:
        raise ConfigurationError("nobody can be asked here: say --images, a folder or s3://…")
    return Answers(
        images=given.images,
        labels=given.labels,
        model=given.model or DEFAULT_MODEL,
        workspace=given.workspace or _workspace_for(given.images),
        look=_seen(given.images, given.labels, looker),
    )


def _seen(images: str, labels: str | None, looker: _Looker) -> "Look | None":
    """The images, and the labels of the place that has them, where there may be none yet."""
    look = looker(images)
    if look is None or labels is None:
        return look
    try:
        named = looker(labels)
    except LinnaeusError:
        named = None
    return replace(look, labels=named.labels if named else ())


def _ask(given: Given, looker: _Looker) -> Answers:
    from linnaeus.storage import normalise

    images = given.images or _answer("Images to label (a folder, s3://…)", None, looker)
    look = _seen(images, given.labels, looker)
    if look:
        typer.echo(plain_lines(_look_text(look, given.labels)), err=True)
    labels = given.labels or _asked_labels(look, looker)
    return Answers(
        images=images,
        labels=labels,
        model=given.model or _answer("Name of the model", DEFAULT_MODEL, _checked_name),
        workspace=given.workspace
        or _answer("Where everything is kept", _workspace_for(images), normalise),
        look=_seen(images, labels, looker),
    )


def _asked_labels(look: "Look | None", looker: _Looker) -> str | None:
    alone = "these" if look is None or look.labelled else "say it later"
    labels = _answer(
        f"Images with labels, a folder for each label (Enter: {alone})",
        "",
        lambda text: looker(text) and text if text else "",
    )
    return labels or None


def _answer(question: str, default: str | None, check: Callable[[str], Any]) -> str:
    """Ask until the answer is one that can be used; standard output is for results."""

    def checked(text: str) -> str:
        try:
            check(text)
        except LinnaeusError as error:
            raise typer.BadParameter(str(error)) from error
        return text

    answer: str = typer.prompt(
        question, default, show_default=bool(default), value_proc=checked, err=True
    )
    return answer


def _checked_name(name: str) -> None:
    from linnaeus.models import check_name

    check_name(name)


def _workspace_for(images: str) -> str:
    """Beside the images: where they lie remotely, in their bucket."""
    from linnaeus.storage import is_local, normalise, split_uri

    place = normalise(images)
    if is_local(place):
        return DEFAULT_WORKSPACE
    scheme, bucket, _ = split_uri(place)
    return f"{scheme}://{bucket}/linnaeus"


def _checked_text(file: Path, answers: Answers) -> str:
    from linnaeus.workflow.file.loading import parse_workflow
    from linnaeus.workflow.file.template import text_of

    chosen = {
        "images.location": _from_file(file, answers.images),
        "labels.location": answers.labels and _from_file(file, answers.labels),
        "workspace": _from_file(file, answers.workspace),
        "model.name": answers.model,
    }
    text = text_of(chosen)
    parse_workflow(str(file), text)
    return text


def _from_file(file: Path, place: str) -> str:
    """A place as it is named here, as it is to be named in the file."""
    from linnaeus.storage import normalise

    relative = "://" not in place and not place.startswith(("/", "~"))
    if not relative or file.absolute().parent == Path.cwd():
        return place
    return normalise(place) + ("/" if place.endswith("/") else "")


def _facts(file: Path, answers: Answers) -> dict[str, Any]:
    return {"file": str(file), **asdict(answers), "next": _commands(file)}


def _conclusion(file: Path, answers: Answers) -> str:
    lines = [f"{file} is written, for images in {answers.images}"]
    look = answers.look
    if look:
        lines.append(_look_text(look, answers.labels))
    if look and not look.labelled:
        lines.append(
            f"mind: no labels are to be seen; set location in [labels], or publish a model "
            f"{answers.model} first"
        )
    if look and look.inventory:
        lines.append(
            f"mind: an S3 Inventory lies at {look.inventory}; as images.location it saves the "
            "listing, but it is one day's"
        )
    lines += ["next:", *(f"  {command}" for command in _commands(file))]
    return "\n".join(lines)


def _commands(file: Path) -> list[str]:
    from shlex import quote

    name = quote(os.fspath(file))
    return [f"linnaeus run {name} --dry-run", f"linnaeus run {name}"]


def _look_text(look: "Look", labels: str | None) -> str:
    if not look.images:
        return "a list that S3 writes: nothing was counted"
    more = "" if look.complete else " at least"
    size = f" ({bytes_text(look.size_bytes)})" if look.size_bytes else ""
    counted = f"{count_text(look.images, 'images')}{more}{size}"
    where = f" in {labels}" if labels else ""
    if not look.labelled:
        return f"{counted}, no labels to be seen{where}"
    shown = ", ".join(look.labels[:_SHOWN_LABELS])
    others = len(look.labels) - _SHOWN_LABELS
    more_labels = f" and {others} more" if others > 0 else ""
    return f"{counted}, with {len(look.labels)} labels{where}: {shown}{more_labels}"
