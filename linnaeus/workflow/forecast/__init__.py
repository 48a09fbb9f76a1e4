"""What a workflow run will take and cost, and what it took.

May import `workflow.file` and `workflow.steps`, and what lies below `workflow`.
"""

__all__ = ["against_actual", "cost", "forecast", "text"]
