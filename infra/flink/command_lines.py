"""The command lines of a Flink cluster's processes on this machine."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.flink import downloads

# What Flink reaches into of a JDK 17's modules, as its own start scripts open them.
_EXPORTED = ("java.base/sun.net.util",)
_OPENED = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
    "java.base/sun.nio.ch",
)

OPENED = (
    *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTED),
    *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
)
HOST = "127.0.0.1"
CONF = Path(__file__).with_name("conf")
HEAP = "-Xmx640m"
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
WORKER_POOL = "beam_pipelines.worker_pool"
PORTS = ("rpc", "blob", "rest", "job", "artifact", "expansion", "workers")


@dataclass(frozen=True)
class CommandLines:
    """Of processes that keep their files in one folder and listen on 127.0.0.1.

    `ports` are by the names in `PORTS`; everything else is as `conf/` says.
    """

    folder: Path
    ports: Mapping[str, int]

    @property
    def artifacts(self) -> Path:
        """What the job server writes and the TaskManager reads."""
        return self.folder / "artifacts"

    @property
    def temporary(self) -> Path:
        """Of all that Java writes."""
        return self.folder / "tmp"

    def jobmanager(self) -> list[str]:
        """Flink's own."""
        return [*self._java(f"{downloads.libraries()}/*"), JOB_MANAGER, *self._settings()]

    def taskmanager(self) -> list[str]:
        """Flink's own."""
        return [*self._java(f"{downloads.libraries()}/*"), TASK_MANAGER, *self._settings()]

    def job_server(self) -> list[str]:
        """Beam's, which hands jobs to the JobManager."""
        jars = f"{downloads.job_server().parent}/lib/*"
        ports = self.ports
        return [
            *self._java(jars, "-Dorg.slf4j.simpleLogger.showDateTime=true"),
            downloads.DRIVER,
            f"--flink-master={HOST}:{ports['rest']}",
            f"--job-host={HOST}",
            f"--job-port={ports['job']}",
            f"--artifact-port={ports['artifact']}",
            f"--expansion-port={ports['expansion']}",
            f"--artifacts-dir={self.artifacts}",
        ]

    def worker_pool(self) -> list[str]:
        """Starts Python workers for the TaskManager."""
        return [sys.executable, "-m", WORKER_POOL, f"--service_port={self.ports['workers']}"]

    def _java(self, jars: str, *settings: str) -> list[str]:
        logging = f"-Dlog4j.configurationFile={CONF / 'log4j-console.properties'}"
        temporary = f"-Djava.io.tmpdir={self.temporary}"
        return ["java", *OPENED, HEAP, temporary, logging, *settings, "-cp", jars]

    def _settings(self) -> list[str]:
        """What differs on one machine from `config.yaml`: names, ports and folders."""
        ports = self.ports
        settings = {
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": ports["rpc"],
            "jobmanager.bind-host": HOST,
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.rpc.port": 0,
            "blob.server.port": ports["blob"],
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": ports["rest"],
            "io.tmp.dirs": self.temporary,
        }
        pairs = [part for key, value in settings.items() for part in ("-D", f"{key}={value}")]
        return ["--configDir", str(CONF), *pairs]
