"""What a person reads when a runner behind a job server fails."""

import subprocess
import sys

import grpc
import pytest

from linnaeus.errors import LinnaeusError
from tests.buckets import fill

FLINK_SAYS = """Pipeline job-1 failed in state FAILED: java.lang.RuntimeException: Error received
from SDK harness for instruction 4: Traceback (most recent call last):
  File "shards.py", line 70, in process
linnaeus.errors.StorageError: s3://b/w: access denied. Correct the credentials
\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient
"""
TASK_MANAGER_LOST = """org.apache.flink.runtime.JobException: Recovery is suppressed
\tat org.apache.flink.runtime
Caused by: org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager 127.0.0.1 is lost.
\tat org.apache.flink.runtime
"""
WORKER_LOST = (
    "Pipeline BeamApp-1_d8 failed in state FAILED: org.apache.grpc.StatusRuntimeException"
    ": org.apache.beam.vendor.grpc.StatusRuntimeException: CANCELLED: client cancelled"
)


class Unavailable(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError(FLINK_SAYS), "s3://b/w: access denied. Correct the credentials: run the"),
        (
            RuntimeError(TASK_MANAGER_LOST),
            "gave the job up: TaskManager 127.0.0.1 is lost: run the same command",
        ),
        (RuntimeError(WORKER_LOST), "Flink gave the job up: CANCELLED: client cancelled: run the"),
        (RuntimeError(""), "it does not say why"),
        (RuntimeError("Unable to fetch remote job server jar at x"), "make runners fetches it"),
        (RuntimeError("Service failed to start up with error 1"), "--debug"),
        (Unavailable(), "went away (UNAVAILABLE): see its log, and run the same command again"),
        (grpc.FutureTimeoutError(), "correct --job_endpoint"),
        (FileNotFoundError(2, "no such file", "java"), "There is no program java: Flink needs it"),
    ],
)
def test_a_failure_is_one_line_with_its_remedy(error, said):
    from beam_pipelines.runners.job_servers import describe

    line = describe(error, "Flink")
    assert said in line
    assert "\n" not in line


def test_errors_for_a_person_and_of_other_runners_pass():
    from beam_pipelines.runners.job_servers import failures_in_words

    with pytest.raises(LinnaeusError, match="as it was"), failures_in_words(["--runner=flink"]):
        raise LinnaeusError("as it was")
    with pytest.raises(ValueError, match="inside"), failures_in_words([]):
        raise ValueError("inside")


@pytest.mark.slow
def test_without_java_the_job_ends_with_one_line(prepared, tmp_path):
    workspace, bucket = prepared("w"), fill(tmp_path / "bucket", 2)
    jar = tmp_path / "job-server.jar"
    jar.touch()
    options = ["--runner=FlinkRunner", f"--flink_job_server_jar={jar}"]
    arguments = ["--workspace", workspace.uri, "--images", str(bucket), "--backbone", "pixels@8"]
    command = [sys.executable, "-m", "beam_pipelines.embed", *arguments, *options]
    java = "--job_server_java_launcher=no-such-java"
    ended = subprocess.run(
        [*command, java], check=False, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("There is no program no-such-java: Flink needs")
