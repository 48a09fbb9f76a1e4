"""Servers that tests ask: in their own process, which has TensorFlow, or soon will."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def served(workspace: str, model: str, version: int) -> Iterator[str]:
    """`serving.local.start_server` without the seconds that a process of its own takes."""
    from serving.models.model_config import ModelConfig
    from serving.models.version_folder import specific
    from serving.server import EmbeddedServer

    config = ModelConfig(model, f"{workspace}/models/{model}", specific(version))
    with EmbeddedServer([config]) as server:
        yield server.address
