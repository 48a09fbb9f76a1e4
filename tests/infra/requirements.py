"""What installing a requirement brings, as this environment resolved it."""

from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def installed_with(requirement: str) -> set[str]:
    """Names of all packages, that of the requirement among them."""
    found: set[str] = set()
    waiting = [Requirement(requirement)]
    seen = set()
    while waiting:
        one = waiting.pop()
        for extra in ("", *sorted(one.extras)):
            key = (canonicalize_name(one.name), extra)
            if key in seen:
                continue
            seen.add(key)
            found.add(key[0])
            needs = map(Requirement, distribution(one.name).requires or [])
            waiting += [r for r in needs if r.marker is None or r.marker.evaluate({"extra": extra})]
    return found
