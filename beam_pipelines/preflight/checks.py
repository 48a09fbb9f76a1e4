"""Checks of any runner: facts in, findings out; one check a function."""

from collections.abc import Iterator

from beam_pipelines.preflight.facts import Facts, Finding
from beam_pipelines.preflight.submission import Address, local_ones
from linnaeus.storage import split_uri

_BEHIND_A_JOB_SERVER = ("flink", "portable", "prism")
_SETTINGS_OF = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}


def locations_are_visible(facts: Facts) -> Iterator[Finding]:
    """A path means something else, or nothing, on another machine."""
    if facts.target.workers_are_here:
        return
    for name, uri in local_ones(facts.submission).items():
        yield Finding(
            f"{name}_visible",
            f"workers on other machines or in containers do not see {uri}",
            f"name {name} as s3://…, gs://… or az://…",
        )


def object_store_is_visible(facts: Facts) -> Iterator[Finding]:
    """A store on this machine's loopback address is nobody's on another machine."""
    address = Address.parse(facts.settings.get("AWS_ENDPOINT_URL"))
    if facts.target.workers_are_here or not address or not address.is_loopback:
        return
    if any(uri.startswith("s3://") for uri in facts.submission.locations.values()):
        yield Finding(
            "endpoint_visible",
            f"AWS_ENDPOINT_URL names {address}, which is another machine for each worker",
            "name the store by an address that workers reach, here and in their environment",
        )


def settings_reach_workers(facts: Facts) -> Iterator[Finding]:
    """Variables of this process stay here: no runner passes an environment on."""
    if facts.target.workers_are_here:
        return
    schemes = {split_uri(uri)[0] for uri in facts.submission.locations.values() if "://" in uri}
    prefixes = tuple(_SETTINGS_OF[scheme] for scheme in schemes)
    names = sorted(name for name in facts.settings if prefixes and name.startswith(prefixes))
    if names:
        yield Finding(
            "settings_reach_workers",
            f"workers elsewhere do not inherit what is set here: {', '.join(names)}",
            "set them where workers start too, or give the workers' machines a role of their own",
            fatal=False,
        )


def server_is_visible(facts: Facts) -> Iterator[Finding]:
    """The embedded server, and any on a loopback address, answer on this machine alone."""
    submission = facts.submission
    if not submission.job.asks_server:
        return
    here, address = facts.target.workers_are_here, Address.parse(submission.server)
    if not submission.server and not here:
        yield Finding(
            "server_visible",
            "without --server the model is served on this machine's loopback address, which "
            "workers elsewhere do not reach",
            "start a model server that workers reach, and name it by --server HOST:PORT",
        )
    elif address and address.is_loopback and not here:
        yield Finding(
            "server_visible",
            f"--server {address} is another machine for each worker",
            "name the model server by an address that workers reach",
        )
    elif address and address in facts.unreachable:
        yield Finding(
            "server_answers",
            f"no model server answers at {address}: {facts.unreachable[address]}",
            "start it, or correct --server",
        )


def storage_can_be_used(facts: Facts) -> Iterator[Finding]:
    """Whether this machine's credentials list the images and write the workspace."""
    for name, problem in facts.storage_problems.items():
        yield Finding(
            f"{name}_usable",
            problem,
            f"correct the name of {name}, or the credentials (docs/how-to/object-storage.md)",
        )


def launcher_may_leave(facts: Facts) -> Iterator[Finding]:
    """A launcher that is gone runs no workers, and serves no model."""
    target, submission = facts.target, facts.submission
    if not target.options["no_wait_until_finish"] or target.runner not in _BEHIND_A_JOB_SERVER:
        return
    serves = submission.job.asks_server and not submission.server
    if target.environment == "LOOPBACK" or serves:
        what = "serves the model" if serves else "runs the workers"
        yield Finding(
            "launcher_leaves",
            f"this process {what}, and --no_wait_until_finish ends it before the job",
            "leave the option out",
        )


CHECKS = (
    launcher_may_leave,
    locations_are_visible,
    object_store_is_visible,
    settings_reach_workers,
    server_is_visible,
    storage_can_be_used,
)
