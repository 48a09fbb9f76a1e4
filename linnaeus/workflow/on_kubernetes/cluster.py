"""Jobs made of a CronJob's template: what a launcher asks of Kubernetes, by lightkube."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linnaeus.errors import ConfigurationError, LinnaeusError
from linnaeus.retries import Policy, retry

if TYPE_CHECKING:
    from lightkube import Client

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ASK_SECONDS = 30.0
POLL_SECONDS = 10.0
PATIENCE_SECONDS = 600.0
"""How long the cluster may give no answer; its own masters are replaced now and then."""
_CONFLICT, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 409, 404, 429, 500

Object = dict[str, Any]


class ClusterError(LinnaeusError):
    """Kubernetes refuses, or gives no answer."""


@dataclass(frozen=True)
class JobRequest:
    """A Job to make of a template."""

    template: str
    """The CronJob's name."""
    name: str
    environment: Mapping[str, str]
    """Values of variables that the template's containers have, empty."""
    slices: int | None = None
    """Of an Indexed Job; at most as many at a time as the template says."""
    owner: Object | None = None
    """A Job, with which the new one is deleted."""

    def of(self, cron_job: Object) -> Object:
        """The Job, as `kubectl create job --from=cronjob/NAME` would make it."""
        template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
        metadata = {**template.get("metadata", {}), "name": self.name}
        if self.owner is not None:
            metadata["ownerReferences"] = [_reference(self.owner)]
        spec = template["spec"]
        if self.slices is not None:
            at_a_time = min(self.slices, spec["parallelism"])
            spec.update(completions=self.slices, parallelism=at_a_time)
        for container in spec["template"]["spec"]["containers"]:
            self._fill(container)
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}

    def _fill(self, container: Object) -> None:
        variables = {one["name"]: one for one in container.get("env", [])}
        for name, value in self.environment.items():
            if name not in variables:
                raise ConfigurationError(
                    f"cronjob/{self.template}: container {container['name']} has no variable "
                    f"{name} to be filled: add it to its env"
                )
            variables[name]["value"] = value


def _reference(owner: Object) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": False,
        "blockOwnerDeletion": False,
    }


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster, seen from a pod in it."""

    client: "Client"
    poll_seconds: float = POLL_SECONDS

    @classmethod
    def around(cls, account: str = ACCOUNT) -> "Cluster":
        """The cluster that this pod is in.

        Args:
            account: the folder with the token, and what the cluster's certificate is checked by.

        Raises:
            ConfigurationError: this is no pod, its account's token is not mounted, or lightkube is
                not installed.
        """
        try:
            import httpx2
            from lightkube import Client, KubeConfig
            from lightkube.core.exceptions import ConfigError
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"a launcher needs {error.name}: pip install 'linnaeus[kubernetes]'"
            ) from error
        try:
            config = KubeConfig.from_service_account(account)
            return cls(Client(config, timeout=httpx2.Timeout(ASK_SECONDS)))
        except (ConfigError, KeyError, OSError) as error:
            raise ConfigurationError(
                "this is no pod of Kubernetes with an account's token: set "
                "automountServiceAccountToken, or use `linnaeus run`"
            ) from error

    def job(self, name: str) -> Object | None:
        """A Job as it is, or None where there is none."""
        kind = _kind("Job")
        return self._ask(f"jobs/{name}", lambda: self.client.get(kind, name))

    def start(self, request: JobRequest) -> str:
        """Make a Job, or join the one of that name: a launcher may have been restarted.

        Returns:
            Its name.
        """
        kind, path = _kind("CronJob"), f"cronjobs/{request.template}"
        cron_job = self._ask(path, lambda: self.client.get(kind, request.template))
        if cron_job is None:
            raise ConfigurationError(
                f"there is no cronjob/{request.template} in namespace {self.client.namespace}: "
                "apply infra/kubernetes/components/sliced"
            )
        job = _kind("Job")(request.of(cron_job))
        self._ask("jobs", lambda: self.client.create(job))
        return request.name

    def wait(self, name: str) -> bool:
        """Wait until a Job has ended; whether it is complete.

        Raises:
            ClusterError: somebody has deleted it.
        """
        while True:
            job = self.job(name)
            if job is None:
                raise ClusterError(f"job/{name} was deleted: start it again with the same --id")
            for condition in job.get("status", {}).get("conditions", []):
                if condition["status"] == "True" and condition["type"] in {"Complete", "Failed"}:
                    return bool(condition["type"] == "Complete")
            time.sleep(self.poll_seconds)

    def _ask(self, path: str, call: Callable[[], Object]) -> Object | None:
        """What a call gives, or None where there is no such object, or there is one already."""
        from httpx2 import HTTPError

        give_up_at = time.monotonic() + PATIENCE_SECONDS

        def may_pass(error: Exception) -> bool:
            status = _status(error)
            busy = status == _TOO_MANY or status >= _SERVER_ERROR
            return isinstance(error, kinds) and busy and time.monotonic() <= give_up_at

        # The last two are an answer that breaks off, and a status without a content type.
        kinds = (HTTPError, ValueError, KeyError)
        try:
            return retry(call, may_pass, Policy(longest_seconds=self.poll_seconds))
        except kinds as error:
            if _status(error) in {_NOT_FOUND, _CONFLICT}:
                return None
            raise ClusterError(
                f"Kubernetes at {self.client.config.cluster.server} gives no {path}: "
                f"{' '.join(str(error).split())}: check the Role and the network policies "
                "of components/sliced"
            ) from error


def _status(error: Exception) -> int:
    """Of an answer; where there was none, the server is at fault."""
    return getattr(getattr(error, "response", None), "status_code", _SERVER_ERROR)


def _kind(name: str) -> Any:
    """Objects of a kind as plain mappings, with the settings that newer clusters know, too."""
    from lightkube.generic_resource import create_namespaced_resource

    return create_namespaced_resource("batch", "v1", name, f"{name.lower()}s")
