"""Who is told how a workflow run ended: a webhook, an SNS topic.

None of them can fail a workflow run. May import `workflow.file` and `workflow.summary`.
"""

from linnaeus.workflow.file.config import Notifications
from linnaeus.workflow.notifications import sns, webhook
from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.time_limits import Send, TookTooLong, sent

__all__ = ["notify"]


def notify(to: Notifications, summary: Summary) -> list[str]:
    """Send a workflow run's summary to whoever the file names, if its `when` says so.

    Returns:
        A line for each receiver: that it was notified, or why not.
    """
    if not (to.webhook or to.sns_topic):
        return []
    if not _wanted(to, summary):
        return [f"nobody was notified: when = {to.when!r}, and nothing of the kind happened"]
    lines = []
    if to.webhook:
        lines.append(_line("webhook", webhook.post, to.webhook, summary))
    if to.sns_topic:
        lines.append(_line("SNS topic", sns.publish, to.sns_topic, summary))
    return lines


def _line(name: str, send: Send, address: str, summary: Summary) -> str:
    """The line of one receiver; of an unforeseen error no more than its type, since its text may
    have the address.
    """
    try:
        return sent(send, address, summary)
    except TookTooLong as late:
        return f"{name}: not notified: {late}"
    except Exception as error:
        return f"{name}: not notified: {type(error).__name__}"


def _wanted(to: Notifications, summary: Summary) -> bool:
    trouble = summary.status != "done"
    return trouble or {"always": True, "changes": summary.anything_done, "trouble": False}[to.when]
