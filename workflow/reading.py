"""A workflow file read and checked."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from linnaeus.errors import ConfigurationError
from workflow.config import Workflow


def read_workflow(path: str) -> Workflow:
    """The workflow that a file describes.

    Raises:
        ConfigurationError: it cannot be read, or says what no workflow can.
    """
    try:
        return Workflow.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        text = " ".join(str(error).split())
        raise ConfigurationError(f"{path}: {text}") from error
