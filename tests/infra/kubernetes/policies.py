"""Who may speak to whom by network policies, as Kubernetes puts several of them together."""

from collections.abc import Iterator
from typing import Any

from tests.infra.kubernetes.objects import Objects, Pod, matches

Pair = tuple[str, str, int]


def pairs(objects: Objects) -> set[Pair]:
    """From a pod to another one at a TCP port that it has: all that both ends' policies let by."""
    pods = objects.pods().values()
    found = set()
    for source in pods:
        for target in pods:
            for port in target.ports.values():
                if _passes(objects, source, target, port):
                    found.add((source.name, target.name, port))
    return found


def outward(objects: Objects, pod: Pod) -> set[tuple[str, int]]:
    """Addresses and ports beyond the cluster that a pod may speak to, but for DNS."""
    rules = _rules(objects, pod, "egress")
    found = set()
    for rule in rules:
        for peer in rule["to"]:
            if "ipBlock" in peer:
                found |= {(peer["ipBlock"]["cidr"], port["port"]) for port in rule["ports"]}
    return {(cidr, port) for cidr, port in found if port != 53}


def inward(objects: Objects, pod: Pod) -> set[tuple[str, int]]:
    """Other namespaces, and the ports at which they may speak to a pod."""
    found = set()
    for rule in _rules(objects, pod, "ingress"):
        for peer in rule["from"]:
            if "namespaceSelector" in peer:
                [namespace] = peer["namespaceSelector"]["matchLabels"].values()
                found |= {(namespace, port["port"]) for port in rule["ports"]}
    return found


def is_shut(objects: Objects, pod: Pod) -> bool:
    """Whether nothing passes that no policy names, in either direction."""
    kinds = {kind for one in _policies(objects, pod) for kind in one["policyTypes"]}
    return kinds == {"Ingress", "Egress"}


def _passes(objects: Objects, source: Pod, target: Pod, port: int) -> bool:
    goes_out = any(_takes(rule, "to", target, port) for rule in _rules(objects, source, "egress"))
    comes_in = any(
        _takes(rule, "from", source, port) for rule in _rules(objects, target, "ingress")
    )
    return goes_out and comes_in


def _takes(rule: dict[str, Any], side: str, peer: Pod, port: int) -> bool:
    """Without ports, a rule is for all of them."""
    ports = [one["port"] for one in rule.get("ports", []) if one["protocol"] == "TCP"]
    if "ports" in rule and port not in ports:
        return False
    selectors = [one["podSelector"] for one in rule[side] if set(one) == {"podSelector"}]
    return any(matches(selector, peer.labels) for selector in selectors)


def _rules(objects: Objects, pod: Pod, direction: str) -> Iterator[dict[str, Any]]:
    for policy in _policies(objects, pod):
        yield from policy.get(direction, [])


def _policies(objects: Objects, pod: Pod) -> Iterator[dict[str, Any]]:
    for one in objects.of("NetworkPolicy").values():
        if matches(one["spec"]["podSelector"], pod.labels):
            yield one["spec"]
