"""A workflow run in figures, kept as JSON, as text and as a page.

May import `workflow.drift`, `workflow.file` and `workflow.forecast`, and what lies below
`workflow`.
"""

__all__ = ["saving", "summary", "text"]
