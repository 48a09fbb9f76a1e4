"""What can go wrong, on one page: each message names the thing and the remedy."""

from enum import StrEnum


class FailureCode(StrEnum):
    """Why an object could not be done; stored in the `failures` table."""

    EMPTY = "EMPTY"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    CORRUPT = "CORRUPT"
    UNSUPPORTED = "UNSUPPORTED"
    TOO_LARGE = "TOO_LARGE"
    CRASHED = "CRASHED"
    NOT_FOUND = "NOT_FOUND"
    ACCESS_DENIED = "ACCESS_DENIED"
    CHANGED = "CHANGED"
    THROTTLED = "THROTTLED"
    TIMEOUT = "TIMEOUT"
    SERVER_ERROR = "SERVER_ERROR"

    @property
    def permanent(self) -> bool:
        """Whether trying the same bytes again with the same decoder must fail again."""
        return self in _PERMANENT


_PERMANENT = frozenset(
    {
        FailureCode.EMPTY,
        FailureCode.NOT_AN_IMAGE,
        FailureCode.CORRUPT,
        FailureCode.UNSUPPORTED,
        FailureCode.TOO_LARGE,
        FailureCode.CRASHED,
    }
)


class LinnaeusError(Exception):
    """Base of every error that a person should read; its text is one line."""


class ConfigurationError(LinnaeusError):
    """What was asked for cannot be done as asked: wrong usage, bad input, missing set-up."""


class CodedError(LinnaeusError):
    """What may become the failure of an object; `code` says which."""

    def __init__(self, message: str, code: FailureCode = FailureCode.SERVER_ERROR) -> None:
        super().__init__(message)
        self.code = code


class StorageError(CodedError):
    """An object store or file system refused; `code` says how."""


class StoreUnavailable(StorageError):  # noqa: N818 - what is the case
    """An object store gives no answers: the fault is no object's, and the work ends."""


class DamagedFile(StorageError):  # noqa: N818 - what is the case
    """A file of the workspace is cut short, or was written by somebody else."""


class ImageError(CodedError):
    """An object's bytes are not a picture that can be decoded; `code` says why.

    Where a model server says so, it is its word alone until this machine has seen `data`.
    """

    def __init__(self, message: str, code: FailureCode, data: bytes | None = None) -> None:
        super().__init__(message, code)
        self.data = data


class EngineError(LinnaeusError):
    """A backbone cannot be computed on this machine."""


class FingerprintMismatch(LinnaeusError):  # noqa: N818 - the agreed name
    """A model meets embeddings that another backbone computed."""


class ServingError(CodedError):
    """A model server cannot be reached, or refused a request."""


class ReconciliationError(LinnaeusError):
    """A run's counts do not add up; nothing of it is committed."""


class GateFailed(LinnaeusError):  # noqa: N818 - the agreed name
    """A quality gate refused what would have been published."""
