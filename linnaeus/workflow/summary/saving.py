"""Keeping a night's summary: JSON for machines, text and a page for people."""

from linnaeus.report import render
from linnaeus.storage import Folder
from linnaeus.workflow.summary.summary import Summary, summary_key
from linnaeus.workflow.summary.text import text


def save_summary(workspace: Folder, summary: Summary) -> str:
    """Keep the summary as JSON, text and a page, in place of an earlier one of the same night.

    Returns:
        Where the text is.
    """
    workflow, night = summary.workflow, summary.night
    kept = summary.to_json().encode(errors="backslashreplace")  # a file's name may be no Unicode
    workspace.write(summary_key(workflow, night, "json"), kept)
    key = summary_key(workflow, night, "txt")
    workspace.write(key, text(summary).encode())
    lines = text(summary).partition("\nSteps:\n")[0].split("\n")
    page = render("night.html", summary=summary, lines=lines)
    workspace.write(summary_key(workflow, night, "html"), page.encode(errors="backslashreplace"))
    return workspace.uri_of(key)
