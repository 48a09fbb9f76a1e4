"""report: the page to look at, the summary, metrics and news, whatever became of the night."""

from collections.abc import Iterator

from linnaeus.errors import LinnaeusError
from linnaeus.workflow.context import Context, Outcome
from linnaeus.workflow.night import Step


def report(context: Context) -> Outcome:
    """Make the page, sum the night up, keep that, and tell whoever wants to know."""
    from linnaeus.workflow.summary.summary import summary_key

    night, lines = context.night, []
    page = context.workspace.uri_of(summary_key(night.workflow, night.night, "html"))
    try:
        page = _page(context) or page
    except LinnaeusError as error:
        lines.append(f"no page of its runs: {error}")
    lines, facts = [*lines, page], {"page": page}
    context.night = context.night.after(Step("report", "done", "", facts=facts)).finished()
    lines += _tell(context)
    return Outcome("; ".join(lines), facts)


def _page(context: Context) -> str | None:
    """Of the night's scoring run, or else of its training; what a gate refused has one, too."""
    from linnaeus.report import save

    with context.progress.step("Report", None):
        pages = [save(context.workspace, run_id) for run_id in _runs(context)]
    return pages[-1] if pages else None


def _runs(context: Context) -> Iterator[str]:
    for name in ("train", "score"):
        facts = context.night.facts(name)
        if run_id := facts.get("refused_run") or facts.get("run_id"):
            yield str(run_id)


def _tell(context: Context) -> Iterator[str]:
    from linnaeus.workflow.metrics import export
    from linnaeus.workflow.news import tell
    from linnaeus.workflow.summary.saving import save_summary
    from linnaeus.workflow.summary.summary import summarise

    with context.progress.step("Sum up", None):
        summary = summarise(context.workspace, context.workflow, context.night)
        try:
            save_summary(context.workspace, summary)
        except LinnaeusError as error:  # people are told all the same
            yield f"the summary is not kept: {error}"
    yield from export(context.workflow.metrics, summary)
    yield from tell(context.workflow.news, summary)
