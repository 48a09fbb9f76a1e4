"""Exactly those speak to each other who must."""

from typing import Any

import pytest

from tests.infra.kubernetes.objects import Objects
from tests.infra.kubernetes.policies import inward, is_shut, outward, pairs

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(900)]

NIGHTLY, SERVING = "linnaeus-nightly", "linnaeus-serving"
ANYWHERE = {("0.0.0.0/0", 443), ("::/0", 443)}
KUBERNETES = {("0.0.0.0/0", 6443), ("::/0", 6443)}
METADATA = {("169.254.169.254/32", 80), ("169.254.169.252/32", 987), ("169.254.169.252/32", 988)}
FLINK = {"jobmanager": {6123, 6124, 8081}, "taskmanager": {6122}, "job-server": {8098, 8099}}


def test_nothing_passes_that_no_policy_names(objects: Objects) -> None:
    assert all(is_shut(objects, pod) for pod in objects.pods().values())


@pytest.mark.parametrize("name", ["local", "aws", "gcp"])
def test_only_the_run_asks_model_servers(rendered: dict[str, Objects], name: str) -> None:
    assert pairs(rendered[name]) == {(NIGHTLY, SERVING, 8500)}


@pytest.mark.parametrize("name", ["aws+", "gcp+"])
def test_so_do_slices_and_flinks_workers(rendered: dict[str, Objects], name: str) -> None:
    expected = {
        (asking, SERVING, 8500) for asking in (NIGHTLY, "linnaeus-score-slices", "taskmanager")
    }
    expected |= {(NIGHTLY, "job-server", port) for port in FLINK["job-server"]}
    expected |= {
        (one, other, port) for one in FLINK for other, ports in FLINK.items() for port in ports
    }
    assert pairs(rendered[name]) == expected


def test_metrics_are_all_that_comes_from_elsewhere(objects: Objects) -> None:
    for pod in objects.pods().values():
        expected = {("monitoring", 8501)} if pod.name == SERVING else set()
        assert inward(objects, pod) == expected


@pytest.mark.parametrize("name", ["local", "aws", "gcp"])
def test_object_stores_are_all_that_is_reached(rendered: dict[str, Objects], name: str) -> None:
    expected = ANYWHERE | (METADATA if name == "gcp" else set())
    for pod in rendered[name].pods().values():
        assert outward(rendered[name], pod) == (set() if pod.name == "inbox" else expected)


def reached(found: Objects) -> dict[str, Any]:
    return {pod.name: outward(found, pod) for pod in found.pods().values()}


def test_the_launcher_reaches_kubernetes_too(rendered: dict[str, Objects]) -> None:
    workers = ("linnaeus-embed-slices", "linnaeus-train", "linnaeus-score-slices", "taskmanager")
    assert reached(rendered["aws+"]) == {
        NIGHTLY: ANYWHERE | KUBERNETES,
        SERVING: ANYWHERE,
        **dict.fromkeys(workers, ANYWHERE),
        "jobmanager": set(),
        "job-server": set(),
    }


def test_whoever_needs_credentials_reaches_what_gives_them(rendered: dict[str, Objects]) -> None:
    for addresses in reached(rendered["gcp+"]).values():
        assert addresses in (METADATA, METADATA | ANYWHERE, METADATA | ANYWHERE | KUBERNETES)


def test_services_names_can_be_looked_up(objects: Objects) -> None:
    [rule] = objects.get("NetworkPolicy", "everybody-asks-dns")["spec"]["egress"]
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {
        ("UDP", 53),
        ("TCP", 53),
    }
    assert objects.get("NetworkPolicy", "everybody-asks-dns")["spec"]["podSelector"] == {}
