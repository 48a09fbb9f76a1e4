"""Jobs made of a CronJob's template, by Kubernetes' own interface: three calls, no library."""

import copy
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnaeus.errors import ConfigurationError, LinnaeusError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
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

    url: str
    namespace: str
    account: Path = ACCOUNT
    """The folder with the account's token, and what the cluster's certificate is checked by."""
    poll_seconds: float = POLL_SECONDS

    @classmethod
    def around(cls, account: Path = ACCOUNT) -> "Cluster":
        """The cluster that this pod is in.

        Raises:
            ConfigurationError: this is no pod, or its account's token is not mounted.
        """
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{one}") for one in ("HOST", "PORT"))
        if not host or not (account / "token").exists():
            raise ConfigurationError(
                "this is no pod of Kubernetes with an account's token: set "
                "automountServiceAccountToken, or use `linnaeus run`"
            )
        bracketed = f"[{host}]" if ":" in host else host
        return cls(f"https://{bracketed}:{port}", (account / "namespace").read_text().strip())

    def job(self, name: str) -> Object | None:
        """A Job as it is, or None where there is none."""
        return self._ask(f"jobs/{name}")

    def start(self, request: JobRequest) -> str:
        """Make a Job, or join the one of that name: a launcher may have been started anew.

        Returns:
            Its name.
        """
        cron_job = self._ask(f"cronjobs/{request.template}")
        if cron_job is None:
            raise ConfigurationError(
                f"there is no cronjob/{request.template} in namespace {self.namespace}: "
                "apply infra/kubernetes/components/sliced"
            )
        self._ask("jobs", request.of(cron_job))
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

    def _ask(self, path: str, body: Object | None = None) -> Object | None:
        """An object, or None where there is none (GET) or there is one already (POST)."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._call(path, body)
            except urllib.error.HTTPError as error:
                if error.code in {_NOT_FOUND, _CONFLICT}:
                    return None
                passes = error.code == _TOO_MANY or error.code >= _SERVER_ERROR
                reason = _reason(error)
            except (OSError, ValueError) as error:
                passes, reason = True, " ".join(str(error).split())
            if not passes or time.monotonic() > give_up_at:
                raise ClusterError(
                    f"Kubernetes at {self.url} gives no {path}: {reason}: check the Role and the "
                    "network policies of components/sliced"
                )
            time.sleep(self.poll_seconds)

    def _call(self, path: str, body: Object | None) -> Object:
        request = urllib.request.Request(
            f"{self.url}/apis/batch/v1/namespaces/{self.namespace}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            # The token is replaced every hour or so.
            headers={
                "Authorization": f"Bearer {(self.account / 'token').read_text().strip()}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=ASK_SECONDS, context=self._trust()) as answer:
            found: Object = json.load(answer)
        return found

    def _trust(self) -> ssl.SSLContext | None:
        if not self.url.startswith("https"):
            return None
        return ssl.create_default_context(cafile=str(self.account / "ca.crt"))


def _reason(error: urllib.error.HTTPError) -> str:
    """Kubernetes' own words, which are a Status object's message."""
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError):
        return f"status {error.code}"
