"""Checks of Flink and of runners behind a job server: facts in, findings out."""

import re
from collections.abc import Iterator
from pathlib import PurePath

from beam_pipelines.preflight.facts import Facts, Finding
from beam_pipelines.preflight.flink_rest import SEGMENT_BYTES, TaskManager

_JAR = re.compile(r"beam-runners-flink-(?P<flink>\d+\.\d+)-job-server-(?P<beam>\d+\.\d+\.\d+)")
CONCURRENT_SHUFFLES = 4
"""As in Flink's rule for its network memory, see `buffers_needed`."""


def parallelism_is_set(facts: Facts) -> Iterator[Finding]:
    """Flink takes its own default otherwise, mostly 1, and says so only in a log."""
    asked = facts.target.options["parallelism"]
    if facts.target.may_be_flink and asked <= 1:
        yield Finding(
            "parallelism",
            "parallelism is 1" if asked == 1 else "parallelism is not set, which Flink takes for 1",
            "--parallelism=N, N being the slots that the job may have",
            fatal=False,
        )


def job_server_answers(facts: Facts) -> Iterator[Finding]:
    """A portable runner is a job server."""
    target, address = facts.target, facts.target.job_server
    if address and address in facts.unreachable:
        yield Finding(
            "job_server",
            f"no job server answers at {address}: {facts.unreachable[address]}",
            "start it, or correct --job_endpoint",
        )
    elif target.runner == "portable" and not target.options["job_endpoint"]:
        yield Finding(
            "job_server", "PortableRunner has no job server", "name it by --job_endpoint=HOST:PORT"
        )


def worker_pool_answers(facts: Facts) -> Iterator[Finding]:
    """Task managers ask the pool for workers, at an address that is theirs to resolve."""
    target, address = facts.target, facts.target.worker_pool
    if target.environment != "EXTERNAL":
        return
    if address is None:
        yield Finding(
            "worker_pool",
            "environment EXTERNAL names no worker pool",
            "--environment_config=HOST:PORT of `python -m beam_pipelines.worker_pool`",
        )
        return
    beside_it = address.is_loopback and not target.workers_are_here  # a task manager's neighbour
    if address in facts.unreachable and not beside_it:
        yield Finding(
            "worker_pool",
            f"no worker pool answers at {address}: {facts.unreachable[address]}",
            f"start it by `python -m beam_pipelines.worker_pool --service_port={address.port}`, or "
            "correct --environment_config; never mind where one runs beside each task manager",
            fatal=not address.is_loopback,
        )


def workers_have_linnaeus(facts: Facts) -> Iterator[Finding]:
    """Beam's own image, which a cluster takes unless told otherwise, has Beam alone."""
    target = facts.target
    if not target.may_be_flink or target.environment != "DOCKER":
        return
    options = " ".join(target.options["environment_options"] or [])
    if not target.options["environment_config"] and "docker_container_image" not in options:
        yield Finding(
            "worker_image",
            "workers would run Beam's own image, which has no linnaeus",
            "--environment_type=EXTERNAL --environment_config=HOST:PORT of a worker pool, or "
            "--environment_config=IMAGE",
        )


def artifacts_are_shared(facts: Facts) -> Iterator[Finding]:
    """The job server writes what task managers read, so they need one folder."""
    target = facts.target
    folder = target.options["artifacts_dir"]
    if target.runner != "flink" or target.options["flink_submit_uber_jar"]:
        return
    if not facts.artifacts_dir_exists:
        yield Finding(
            "artifacts", f"there is no folder {folder}", "make it, or correct --artifacts_dir"
        )
    elif target.flink and not target.flink.is_loopback and "://" not in (folder or ""):
        where = folder or "a temporary folder of this machine"
        yield Finding(
            "artifacts",
            f"the job server keeps artifacts in {where}; whether the task managers at "
            f"{target.flink} see the same cannot be told from here",
            "--artifacts_dir in a folder that they mount too, or --flink_submit_uber_jar",
            fatal=False,
        )


def versions_match(facts: Facts) -> Iterator[Finding]:
    """The job server's jar is built for one Flink, and for one Beam."""
    from apache_beam.version import __version__ as sdk

    target, cluster = facts.target, facts.cluster
    if target.runner != "flink":
        return
    jar = _JAR.search(PurePath(target.options["flink_job_server_jar"] or "").name)
    if jar and jar["beam"] != sdk:
        yield Finding(
            "beam_version",
            f"the job server's jar is of Beam {jar['beam']}, the workers' SDK is {sdk}",
            f"take the jar of Beam {sdk}",
            fatal=False,
        )
    flink = jar["flink"] if jar else target.options["flink_version"]
    if jar and jar["flink"] != target.options["flink_version"]:
        yield Finding(
            "flink_version",
            f"the job server's jar is for Flink {flink}, --flink_version is "
            f"{target.options['flink_version']}",
            f"--flink_version={flink}",
        )
    if cluster and not cluster.version.startswith(f"{flink}."):
        yield Finding(
            "flink_version",
            f"the cluster at {target.flink} is Flink {cluster.version}, the job server for {flink}",
            f"--flink_version={'.'.join(cluster.version.split('.')[:2])} and its job server",
        )


def cluster_answers(facts: Facts) -> Iterator[Finding]:
    """Without it neither slots nor buffers can be counted, and no job submitted directly."""
    if facts.cluster_problem:
        yield Finding(
            "cluster",
            f"no Flink answers at {facts.target.flink}: {facts.cluster_problem}",
            "start it, or correct --flink_master or --flink",
        )


def slots_suffice(facts: Facts) -> Iterator[Finding]:
    """A job that asks for more waits for them, and fails after minutes."""
    asked, cluster = facts.target.options["parallelism"], facts.cluster
    if cluster and asked > cluster.slots:
        yield Finding(
            "slots",
            f"parallelism {asked} is more than the cluster's {cluster.slots} slots",
            f"--parallelism={max(cluster.slots, 1)}, or more task managers or slots",
        )


def buffers_needed(slots: int, parallelism: int) -> int:
    """Network buffers that a task manager of so many slots needs.

    Flink's rule is slots^2 x task managers x 4, for a job that takes all slots and four shuffles
    at a time. With p = slots x task managers it says slots x p x 4: each subtask on the machine
    has a channel to each of the p others. A job that takes fewer slots needs fewer.
    https://nightlies.apache.org/flink/flink-docs-release-1.9/ops/config.html
    """
    return min(slots, parallelism) * parallelism * CONCURRENT_SHUFFLES


def network_buffers_suffice(facts: Facts) -> Iterator[Finding]:
    """Too few end a job with "Insufficient number of network buffers" when it is deployed."""
    parallelism = facts.target.options["parallelism"]
    managers = facts.cluster.task_managers if facts.cluster else ()
    short = [one for one in managers if one.network_buffers < _needed(one, parallelism)]
    if short:
        worst = max(short, key=lambda one: _needed(one, parallelism) - one.network_buffers)
        needed = _needed(worst, parallelism)
        yield Finding(
            "network_buffers",
            f"parallelism {parallelism} needs some {needed:,} network buffers on a task manager "
            f"of {worst.slots} slots, which has {worst.network_buffers:,}",
            f"taskmanager.memory.network.min and .max of {needed * SEGMENT_BYTES >> 20}m and more, "
            "or a lower --parallelism",
        )


def _needed(manager: TaskManager, parallelism: int) -> int:
    return buffers_needed(manager.slots, max(parallelism, 1))


CHECKS = (
    parallelism_is_set,
    job_server_answers,
    worker_pool_answers,
    workers_have_linnaeus,
    artifacts_are_shared,
    versions_match,
    cluster_answers,
    slots_suffice,
    network_buffers_suffice,
)
