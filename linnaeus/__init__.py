"""Label every image in a bucket."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linnaeus.workspace import Workspace

__all__ = ["Workspace", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `Workspace` only when it is asked for, so that `import linnaeus` costs nothing."""
    if name == "Workspace":
        from linnaeus.workspace import Workspace

        return Workspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
