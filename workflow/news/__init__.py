"""Who is told how a night ended: a webhook, an SNS topic."""

from workflow.news.telling import tell

__all__ = ["tell"]
