"""Who is told how a night ended: a webhook, an SNS topic.

None of them can fail a night.
"""

from linnaeus.workflow.file.config import News
from linnaeus.workflow.news import sns, webhook
from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.time_limits import Send, TookTooLong, sent

__all__ = ["tell"]


def tell(news: News, summary: Summary) -> list[str]:
    """Tell of a night whoever wants to know, as the file's `when` has it.

    Returns:
        A line for each receiver: that it was told, or why it could not be.
    """
    if not (news.webhook or news.sns_topic):
        return []
    if not _wanted(news, summary):
        return [f"nobody was told: when = {news.when!r}, and nothing of the kind happened"]
    lines = []
    if news.webhook:
        lines.append(_line("webhook", webhook.post, news.webhook, summary))
    if news.sns_topic:
        lines.append(_line("SNS topic", sns.publish, news.sns_topic, summary))
    return lines


def _line(name: str, send: Send, to: str, summary: Summary) -> str:
    """What a receiver's sender says; of an error that it did not foresee, no more than the kind,
    since its text may have the address.
    """
    try:
        return sent(send, to, summary)
    except TookTooLong as late:
        return f"{name}: not told: {late}"
    except Exception as error:
        return f"{name}: not told: {type(error).__name__}"


def _wanted(news: News, summary: Summary) -> bool:
    trouble = summary.status != "done"
    return (
        trouble or {"always": True, "changes": summary.anything_done, "trouble": False}[news.when]
    )
