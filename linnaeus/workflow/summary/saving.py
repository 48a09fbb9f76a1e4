"""Keeping a workflow run's summary: JSON for machines, text and a page for people."""

from typing import Literal

from linnaeus.report import render
from linnaeus.storage import Folder
from linnaeus.workflow.summary.summary import Summary, summary_key
from linnaeus.workflow.summary.text import text


def save_summary(workspace: Folder, summary: Summary) -> str:
    """Keep the summary as JSON, text and a page, in place of an earlier one of the same run.

    Returns:
        Where the text is.
    """

    def write(kind: Literal["json", "txt", "html"], content: str) -> str:
        key = summary_key(summary.workflow, summary.workflow_run, kind)
        workspace.write(key, content.encode(errors="backslashreplace"))  # of names of files
        return workspace.uri_of(key)

    plain = text(summary)
    lines = plain.partition("\nSteps:\n")[0].split("\n")
    write("json", summary.to_json())
    write("html", render("workflow_run.html", summary=summary, lines=lines))
    return write("txt", plain)
