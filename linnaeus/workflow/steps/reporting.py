"""report: the page, the summary, metrics and notifications, whatever became of the run."""

from collections.abc import Iterator

from linnaeus.errors import LinnaeusError
from linnaeus.workflow.context import Context, Outcome
from linnaeus.workflow.workflow_run import Step


def report(context: Context) -> Outcome:
    """Make the page, sum the run up, keep that, and notify whoever the file names."""
    from linnaeus.workflow.summary.summary import summary_key

    run, lines = context.run, []
    page = context.workspace.uri_of(summary_key(run.workflow, run.id, "html"))
    try:
        page = _page(context) or page
    except LinnaeusError as error:
        lines.append(f"no page of its runs: {error}")
    lines, facts = [*lines, page], {"page": page}
    context.run = context.run.after(Step("report", "done", "", facts=facts)).finished()
    lines += _sum_up(context)
    return Outcome("; ".join(lines), facts)


def _page(context: Context) -> str | None:
    """Of the run's scoring run, or else of its training; what a gate refused has one, too."""
    from linnaeus.report import save

    with context.progress.step("Report", None):
        pages = [save(context.workspace, run_id) for run_id in _runs(context)]
    return pages[-1] if pages else None


def _runs(context: Context) -> Iterator[str]:
    for name in ("train", "score"):
        facts = context.run.facts(name)
        if run_id := facts.get("refused_run") or facts.get("run_id"):
            yield str(run_id)


def _sum_up(context: Context) -> Iterator[str]:
    from linnaeus.workflow.metrics import export
    from linnaeus.workflow.notifications import notify
    from linnaeus.workflow.summary.saving import save_summary
    from linnaeus.workflow.summary.summary import summarise

    with context.progress.step("Sum up", None):
        summary = summarise(context.workspace, context.workflow, context.run)
        try:
            save_summary(context.workspace, summary)
        except LinnaeusError as error:  # people are notified all the same
            yield f"the summary is not kept: {error}"
    yield from export(context.workflow.metrics, summary)
    yield from notify(context.workflow.notifications, summary)
