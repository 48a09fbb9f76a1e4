"""What is wrong with a job before it is submitted: all of it at once, each with its remedy.

`facts` looks around; the checks are functions of what it saw.
"""

from collections.abc import Iterable

from beam_pipelines.preflight import checks, dataflow_checks, portable_checks
from beam_pipelines.preflight.facts import Facts, Finding, gather, gather_cheap
from beam_pipelines.preflight.submission import Submission
from beam_pipelines.runners import check_beam_options
from linnaeus.errors import ConfigurationError
from linnaeus.progress import Progress

__all__ = ["Finding", "Submission", "check", "examine", "refuse"]


def check(facts: Facts) -> list[Finding]:
    """All that is wrong, the fatal first."""
    asked = [*checks.CHECKS, *portable_checks.CHECKS]
    if facts.target.runner == "dataflow":
        asked += dataflow_checks.CHECKS
    found = [finding for one in asked for finding in one(facts)]
    return sorted(found, key=lambda one: not one.fatal)


def examine(submission: Submission) -> list[Finding]:
    """Look at all that can be seen from here, and say what is wrong.

    Raises:
        ConfigurationError: the Beam options are none.
    """
    check_beam_options(submission.beam_options)
    return check(gather(submission))


def refuse(submission: Submission, progress: Progress) -> None:
    """Refuse a job for a cluster that cannot go well; what may is shown and let pass.

    Raises:
        ConfigurationError: all that is wrong, in one line.
    """
    if not submission.beam_options:
        return
    check_beam_options(submission.beam_options)
    facts = gather_cheap(submission)
    if facts.target.is_local_runner:
        _refuse_fatal(checks.launcher_may_leave(facts))
        return
    with progress.step("Check the runner", None) as step:
        found = check(facts)
        _refuse_fatal(found)
        step.note("; ".join(map(text, found)) or "nothing wrong to be seen")


def _refuse_fatal(found: Iterable[Finding]) -> None:
    fatal = [text(one) for one in found if one.fatal]
    if fatal:
        raise ConfigurationError("; ".join(fatal))


def text(finding: Finding) -> str:
    """A finding in one line."""
    return f"{finding.problem}: {finding.remedy}"
