"""Types of settings, each with its own check; what is wrong is told in a sentence.

A check never repeats the value in its message: it may be a secret.
"""

import posixpath
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema

from linnaeus import models
from linnaeus.backbones import families
from linnaeus.errors import ConfigurationError
from linnaeus.storage import normalise
from serving.addresses import check_address

FOLDER = "folder"
"""Key of the validation's context: where the file lies, from which its paths are counted."""

_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+(\.fifo)?")
_WEIGHTS = re.compile(r"\?weights=(?![/~])")


def _name(value: str) -> str:
    try:
        models.check_name(value)
    except ConfigurationError as error:
        raise ValueError(
            "use letters, digits, '.', '_' and '-', and begin with a letter or digit"
        ) from error
    return value


def _location(value: str, info: ValidationInfo) -> str:
    try:
        normalise(value)
    except ConfigurationError as error:
        raise ValueError(str(error).removeprefix(f"{value}: ")) from error
    if "\0" in value:
        raise ValueError("no place has the character \\u0000 in its name: take it out")
    return _from_file(value, info)


def _from_file(value: str, info: ValidationInfo) -> str:
    """A relative path counted from the file's folder; anything else as it is."""
    folder = (info.context or {}).get(FOLDER)
    if folder is None or "://" in value or value.startswith(("/", "~")):
        return value
    begin, separator, path = folder.rpartition("://")
    if separator and ".." in value.split("/"):
        raise ValueError("a path with .. from a file in a bucket: write the whole address")
    joined = begin + separator + posixpath.normpath(f"{path}/{value}")
    return f"{joined}/" if value.endswith("/") else joined  # which says that it is a folder


def _local_file(value: str, info: ValidationInfo) -> str:
    path = _location(value, info)
    if "://" in path:
        raise ValueError("name a file of the machine, by an absolute path")
    if not path.endswith(".prom"):
        raise ValueError("the collector reads files that end in .prom only: name one")
    return normalise(path)


def _backbone(value: str, info: ValidationInfo) -> str:
    if value.startswith(("./", "../")):
        value = _from_file(value, info)
    if _WEIGHTS.search(value):
        raise ValueError("name the file of weights by an absolute path")
    return _checked(families.check_exportable, value)


def _checked(check: Callable[[str], object], value: str) -> str:
    try:
        check(value)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return value


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError(
            "an address with a secret in it stays out of the file: write env:VARIABLE, such as "
            "env:LINNAEUS_WEBHOOK, and set that variable where the job runs"
        )
    return value


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value):
        raise ValueError("write the topic's ARN, as in arn:aws:sns:REGION:ACCOUNT:NAME")
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or parts.scheme not in ("http", "https"):
        raise ValueError("write a URL, as in http://HOST:PORT")
    return value


def _options(value: tuple[str, ...]) -> tuple[str, ...]:
    if value and not value[0].startswith("-"):
        raise ValueError('an option begins with --, as in "--runner=FlinkRunner"')
    return value


def _says(what: str) -> WithJsonSchema:
    """What a text of this kind is called where settings are listed."""
    return WithJsonSchema({"type": "string", "takes": what})


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Minutes = Annotated[float, Field(ge=0, le=10_080)]
Days = Annotated[float, Field(gt=0, le=36_500)]
Price = Annotated[float, Field(ge=0)]
Name = Annotated[str, AfterValidator(_name), _says("a name")]
Location = Annotated[str, AfterValidator(_location), _says("a path or a URI")]
LocalFile = Annotated[str, AfterValidator(_local_file), _says("a file's path")]
BackboneName = Annotated[str, AfterValidator(_backbone), _says("a backbone's name")]
Address = Annotated[str, AfterValidator(partial(_checked, check_address)), _says("HOST:PORT")]
WebhookVariable = Annotated[str, AfterValidator(_variable), _says("env:VARIABLE")]
TopicArn = Annotated[str, AfterValidator(_topic), _says("an ARN")]
Url = Annotated[str, AfterValidator(_url), _says("a URL")]
Options = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_options)]
