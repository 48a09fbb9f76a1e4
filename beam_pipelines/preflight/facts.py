"""What can be seen from here before a job is submitted: the edge of the checks."""

import importlib.util
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from beam_pipelines.preflight.flink_rest import FlinkCluster, look_at
from beam_pipelines.preflight.submission import Address, Submission, Target, target_of
from linnaeus.errors import LinnaeusError
from linnaeus.storage import Folder, is_local


@dataclass(frozen=True)
class Finding:
    """One problem; both texts are one line for a person."""

    check: str
    """The name of the check, for machines."""
    problem: str
    remedy: str
    fatal: bool = True
    """False: the job runs, but slowly, or only if something holds that cannot be seen from here."""


CONNECT_SECONDS = 3.0
SETTINGS = ("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_")
MANIFESTS = (".csv", ".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class Facts:
    """All that checks look at; gathered once, so that a check is a function of it."""

    submission: Submission
    target: Target
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of this process's environment that settle how object stores are reached."""
    google_client: bool = True
    """Whether Google's client for Dataflow is installed."""
    artifacts_dir_exists: bool = True
    unreachable: Mapping[Address, str] = field(default_factory=dict)
    """Why addresses that were tried do not answer."""
    cluster: FlinkCluster | None = None
    cluster_problem: str = ""
    """Why Flink's REST interface could not be read, if it was asked."""
    storage_problems: Mapping[str, str] = field(default_factory=dict)
    """Why the workspace, the images or the output cannot be used, by that word."""
    google_problem: str = ""
    """Why there are no credentials for Google, if they were looked for."""


def gather_cheap(submission: Submission) -> Facts:
    """What costs no more than a connection to each address that the options name."""
    target = target_of(submission)
    artifacts = target.options["artifacts_dir"]
    return Facts(
        submission=submission,
        target=target,
        settings={k: v for k, v in os.environ.items() if k.startswith(SETTINGS)},
        google_client=_has_google_client(),
        artifacts_dir_exists=not artifacts or "://" in artifacts or Path(artifacts).is_dir(),
        unreachable=dict(_unreachable(submission, target)),
    )


def gather(submission: Submission) -> Facts:
    """The same, and what the cluster, the object stores and Google's credentials say."""
    facts = gather_cheap(submission)
    cluster, problem = look_at(facts.target.flink) if facts.target.flink else (None, "")
    return replace(
        facts,
        cluster=cluster,
        cluster_problem=problem,
        storage_problems=dict(_storage_problems(submission)),
        google_problem=_google_problem() if _needs_google(facts) else "",
    )


def _has_google_client() -> bool:
    try:
        return importlib.util.find_spec("google.cloud.dataflow_v1beta3") is not None
    except ModuleNotFoundError:
        return False


def _unreachable(submission: Submission, target: Target) -> Iterator[tuple[Address, str]]:
    server = Address.parse(submission.server)
    for address in {target.job_server, target.worker_pool, server} - {None}:
        assert address is not None
        try:
            socket.create_connection((address.host, address.port), CONNECT_SECONDS).close()
        except OSError as error:
            yield address, error.strerror or str(error)


def _storage_problems(submission: Submission) -> Iterator[tuple[str, str]]:
    tries = {"workspace": _create, "images": _look, "output": _create}
    for name, uri in submission.locations.items():
        try:
            tries[name](uri)
        except (LinnaeusError, OSError) as error:
            yield name, str(error)


def _create(uri: str) -> None:
    """Leaves nothing; a local folder that is not there yet is made by the job."""
    if is_local(uri) and not Path(uri).exists():
        return
    Folder(uri).require_creation(f".preflight-{secrets.token_hex(8)}")


def _look(uri: str) -> None:
    if uri.lower().endswith(MANIFESTS):
        parent, _, name = uri.rpartition("/")
        found = Folder(parent or "/").head(name) is not None
    else:
        found = any(Folder(uri).page("")) or _begins_names(uri)
    if not found:
        raise LinnaeusError(f"there is nothing at {uri}")


def _begins_names(uri: str) -> bool:
    """Whether IMAGES are those whose names begin so, in the folder above."""
    above, _, start = uri.rpartition("/")
    entries, folders = Folder(above or "/").page("")
    names = [*(entry.key for entry in entries), *folders]
    return bool(start) and any(name.startswith(start) for name in names)


def _needs_google(facts: Facts) -> bool:
    return facts.target.runner == "dataflow" and not facts.target.options["no_auth"]


def _google_problem() -> str:
    try:
        import google.auth

        google.auth.default()
    except Exception as error:
        return " ".join(str(error).split())
    return ""
