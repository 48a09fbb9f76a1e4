"""A whole workflow from one file: from new images to labels, with gates and notifications.

May import pipelines, `training`, `serving.client`, and what lies below. Names its modules alone, so
that reading a workflow file loads no more than that needs.
"""

__all__ = ["engine", "freezing", "workflow_run"]
