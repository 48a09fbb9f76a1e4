"""report: the page to look at, the summary, metrics and news, whatever became of the night."""

from collections.abc import Iterator
from typing import Any

from linnaeus.errors import LinnaeusError
from workflow.context import Context, Outcome
from workflow.night import Step


def report(context: Context) -> Outcome:
    """Make the page, sum the night up, keep that, and tell whoever wants to know."""
    lines, facts = [], dict[str, Any]()
    try:
        facts["page"] = _page(context)
    except LinnaeusError as error:
        facts["page"] = None
        lines.append(f"no page: {error}")
    if facts["page"]:
        lines.append(facts["page"])
    context.night = context.night.after(Step("report", "done", "", facts=facts)).finished()
    lines += _tell(context)
    return Outcome("; ".join(lines) or "nothing to show", facts)


def _page(context: Context) -> str | None:
    """Of the night's scoring run, or of its training."""
    from linnaeus.report import save

    run_id = _committed_run(context)
    if run_id is None:
        return None
    with context.progress.step("Report", None):
        return save(context.workspace, run_id)


def _committed_run(context: Context) -> str | None:
    score, publish, train = (context.night.step(n) for n in ("score", "publish", "train"))
    if score and score.status == "done" and score.facts.get("run_id"):
        return str(score.facts["run_id"])
    taken_back = score and score.status == "refused"
    if train and publish and publish.status == "done" and not taken_back:
        return str(train.facts["run_id"])
    return None


def _tell(context: Context) -> Iterator[str]:
    from workflow.metrics import export
    from workflow.news import tell
    from workflow.summary import save_summary, summarise

    with context.progress.step("Sum up", None):
        summary = summarise(context.workspace, context.workflow, context.night)
        try:
            save_summary(context.workspace, summary)
        except LinnaeusError as error:  # people are told all the same
            yield f"the summary is not kept: {error}"
    yield from export(context.workflow.metrics, summary)
    yield from tell(context.workflow.news, summary)
