"""AWS Batch and Step Functions of moto, with jobs whose commands are carried out.

moto marks a job as done and runs nothing; here whoever submits a job waits for its command, which
is the definition's with its parameters put in, as Batch does it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Any

import boto3
import click
import pytest
import typer
from botocore.validate import validate_parameters

from linnaeus.cli.app import app
from tests.infra import aws_stacks
from tests.infra.aws_stacks import REGION, Outputs

INDEX = "AWS_BATCH_JOB_ARRAY_INDEX"
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@dataclass(frozen=True)
class Task:
    """One container that Batch would start."""

    job: str
    """The job's name."""
    image: str
    command: list[str]
    environment: dict[str, str]


Runner = Callable[[Task], int | None]
"""Carries out a task: its exit status, or None if it never begins."""


def task_of(job: Any) -> Task:
    """What Batch would start, with every `Ref::` replaced by the job's parameter."""
    container = job.job_definition.container_properties
    unknown = [
        part
        for part in container["command"]
        if part.startswith("Ref::") and part[len("Ref::") :] not in job.parameters
    ]
    assert not unknown, f"{job.job_name} has no parameters for {unknown}"
    command = [
        re.sub(r"^Ref::(.+)$", lambda m: job.parameters[m[1]], p) for p in container["command"]
    ]
    environment = {each["name"]: each["value"] for each in container.get("environment", [])}
    index = job.array_properties.get("index")
    if index is not None:
        environment[INDEX] = str(index)
    return Task(job.job_name, container["image"], command, environment)


@dataclass
class Cloud:
    """The stacks in moto, and what was run in them."""

    runner: Runner
    outputs: Outputs = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    waiting: Queue[tuple[Task, Future[int | None]]] = field(default_factory=Queue)
    """Tasks for the main thread, the only one that may handle signals as commands do."""

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION)

    @property
    def jobs(self) -> list[str]:
        """The jobs that were started, one after the other; an array is one."""
        names = [task.job for task in self.tasks]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]

    @property
    def servers(self) -> int:
        """How many model servers are wanted now."""
        serving = self.outputs["serving"]
        found = self.client("ecs").describe_services(
            cluster=serving["Cluster"], services=[serving["Service"]]
        )
        return found["services"][0]["desiredCount"]

    def workflow_run(self, name: str) -> dict[str, Any]:
        """Run the state machine to its end; the execution's description."""
        client = self.client("stepfunctions")
        started = client.start_execution(
            stateMachineArn=self.outputs["workflow"]["StateMachine"], name=name, input="{}"
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = client.describe_execution(executionArn=started["executionArn"])
            if found["status"] in ENDED:
                return found
            self.work()
        raise AssertionError("the state machine does not come to an end")

    def work(self) -> None:
        """Carry out the task that is waiting, or wait a little for one."""
        with suppress(Empty):
            task, end = self.waiting.get(timeout=0.05)
            try:
                end.set_result(self.runner(task))
            except Exception as error:
                end.set_exception(error)

    def carry_out(self, task: Task) -> int | None:
        """Have the main thread do it."""
        self.tasks.append(task)
        end: Future[int | None] = Future()
        self.waiting.put((task, end))
        return end.result()

    def notified(self) -> list[str]:
        """What was published to the topic."""
        queue = self.outputs["listener"]["Queue"]
        found = self.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return [message["Body"] for message in found.get("Messages", [])]

    def adopt(self) -> None:
        """Hand the stack's state machine to what carries it out, which knows no stacks."""
        from moto.stepfunctions.models import stepfunctions_backends

        made = stepfunctions_backends[aws_stacks.ACCOUNT][REGION].state_machines
        [machine] = [each for each in made if each.arn == self.outputs["workflow"]["StateMachine"]]
        self.client("stepfunctions").create_state_machine(
            name=machine.name, definition=machine.definition, roleArn=machine.roleArn
        )

    def listen(self) -> None:
        """Keep in a queue what is published to the topic."""
        queue = self.client("sqs").create_queue(QueueName="listener")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{aws_stacks.ACCOUNT}:listener"
        topic = self.outputs["notifications"]["Topic"]
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        self.outputs["listener"] = {"Queue": queue}


@contextmanager
def cloud(runner: Runner, server: str | None = None, **parameters: str) -> Iterator[Cloud]:
    """All stacks, made in moto, whose jobs are carried out by `runner` and ask that server."""
    from moto import mock_aws
    from moto.batch_simple.models import BatchSimpleBackend
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service_aws_sdk as sdk_tasks,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service_batch as batch_tasks,
    )

    settings: Any = {
        "stepfunctions": {"execute_state_machine": True},
        "batch": {"use_docker": False},
    }
    with pytest.MonkeyPatch.context() as patched, mock_aws(config=settings):
        logging.getLogger("moto").setLevel(logging.CRITICAL)  # it warns of types it lacks
        made = Cloud(runner)
        patched.setattr(BatchSimpleBackend, "_mark_job_as_finished", _finishing(made))
        task = batch_tasks.StateTaskServiceBatch
        patched.setattr(task, "_normalise_parameters", _normalised_parameters)
        patched.setattr(task, "_normalise_response", _normalised_response)
        task = sdk_tasks.StateTaskServiceAwsSdk
        patched.setattr(task, "_normalise_parameters", _sdk_parameters)
        patched.setattr(task, "_normalise_response", _sdk_response)
        made.outputs = aws_stacks.make(aws_stacks.main_parameters(**parameters), server)
        made.adopt()
        made.listen()
        yield made


def _finishing(cloud: Cloud) -> Callable[..., None]:
    def finish(backend: Any, include_start_attempt: bool, job: Any) -> None:
        backend.backend._jobs[job.job_id] = job
        if include_start_attempt:
            job._start_attempt()
            job.exit_code = status = cloud.carry_out(task_of(job))
        else:
            children = [
                each for name, each in backend._jobs.items() if name.startswith(f"{job.job_id}:")
            ]
            status = max(child.exit_code for child in children)
        if status is None:
            job.status = "RUNNABLE"
        else:
            job._mark_stopped(success=status == 0)

    return finish


def _lower(value: Any) -> Any:
    if isinstance(value, list):
        return [_lower(each) for each in value]
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: _lower(each) for name, each in value.items()}
    return value


def _normalised_parameters(_task: Any, parameters: dict[str, Any], *_: Any, **__: Any) -> None:
    """A request as boto3 spells it, which must be one that Batch takes."""
    _check("batch", "SubmitJob", parameters)


def _check(service: str, operation: str, parameters: dict[str, Any]) -> None:
    request = _lower(parameters)
    model = boto3.client(service, region_name=REGION).meta.service_model
    validate_parameters(request, model.operation_model(operation).input_shape)
    parameters.clear()
    parameters.update(request)


def _normalised_response(_task: Any, response: Any, *_: Any, **__: Any) -> None:
    for name in list(response):
        response[name[0].upper() + name[1:]] = response.pop(name)


def _sdk_parameters(task: Any, parameters: dict[str, Any], *_: Any, **__: Any) -> None:
    if task.resource.api_name == "ecs":
        _check("ecs", "UpdateService", parameters)


def _sdk_response(_task: Any, response: Any, *_: Any, **__: Any) -> None:
    if "Body" in response:
        response["Body"] = response["Body"].read().decode()


def parse(command: list[str]) -> Mapping[str, Any]:
    """What the real command line makes of a command; wrong usage raises a click error."""
    group = typer.main.get_command(app)
    context = click.Context(group, info_name="linnaeus")
    name, found, arguments = group.resolve_command(context, command)
    return {"command": name, **found.make_context(name, arguments, parent=context).params}
