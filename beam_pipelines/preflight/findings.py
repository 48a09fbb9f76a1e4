"""What a check says: one thing that is wrong, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One problem; both texts are one line for a person."""

    check: str
    """The name of the check, for machines."""
    problem: str
    remedy: str
    fatal: bool = True
    """False: the job runs, but slowly, or only if something holds that cannot be seen from here."""
