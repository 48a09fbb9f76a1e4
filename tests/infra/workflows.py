"""Google Workflows in small: the steps and expressions that infra/gcp/workflow.yaml is made of.

What it does not know is an error, so that a misspelt word of the file is one, too.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

Calls = Mapping[str, Callable[..., Any]]
LONGEST_EXPRESSION = 400
STEP = {"assign", "call", "args", "result", "switch", "next", "return", "raise", "try", "except"}
CASE = {"condition", "next", "return", "raise", "steps"}


class RaisedError(Exception):
    """What a workflow raised."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class _Returned(Exception):  # noqa: N818
    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


@dataclass
class Interpreter:
    """Executes a workflow; `calls` are the services, by the names that steps call them."""

    workflows: dict[str, Any]
    environment: dict[str, str]
    calls: Calls
    now: str = "2026-01-31T02:00:00.123456Z"
    variables: dict[str, Any] = field(default_factory=dict)

    def run(self, name: str = "main", /, **arguments: Any) -> Any:
        """Execute one workflow with arguments by name."""
        workflow = self.workflows[name]
        assert workflow.keys() <= {"params", "steps"}, workflow.keys()
        variables: dict[str, Any] = {}
        for one in workflow.get("params", []):
            variables.update(one if isinstance(one, dict) else {one: ...})
        assert arguments.keys() <= variables.keys(), (name, arguments)
        variables.update(arguments)
        assert ... not in variables.values(), f"{name}: not all of its parameters are given"
        inner = Interpreter(self.workflows, self.environment, self.calls, self.now, variables)
        try:
            inner.steps(workflow["steps"])
        except _Returned as end:
            return end.value

    def steps(self, steps: list[dict[str, Any]]) -> None:
        names = [name for step in steps for name in step]
        assert len(set(names)) == len(steps), names
        at = 0
        while at < len(steps):
            target = self.step(steps[at][names[at]])
            if target == "end":
                return
            at = names.index(target) if target else at + 1

    def step(self, step: dict[str, Any]) -> str | None:
        assert step.keys() <= STEP, step.keys() - STEP
        if "try" in step:
            self.attempt(step)
        if "switch" in step:
            return self.choose(step["switch"])
        return self.act(step)

    def act(self, step: dict[str, Any]) -> str | None:
        for one in step.get("assign", []):
            [(name, value)] = one.items()
            self.assign(name, self.value(value))
        if "call" in step:
            answer = self.call(step["call"], self.value(step.get("args", {})))
            if "result" in step:
                self.variables[step["result"]] = answer
        if "raise" in step:
            raise RaisedError(self.value(step["raise"]))
        if "return" in step:
            raise _Returned(self.value(step["return"]))
        return step.get("next")

    def assign(self, name: str, value: Any) -> None:
        *path, last = name.split(".")
        where = self.variables
        for part in path:
            where = where[part]
        where[last] = value

    def attempt(self, step: dict[str, Any]) -> None:
        try:
            self.act(step["try"])
        except RaisedError as error:
            handler = step["except"]
            assert handler.keys() == {"as", "steps"}
            self.variables[handler["as"]] = error.value
            self.steps(handler["steps"])
            del self.variables[handler["as"]]

    def choose(self, cases: list[dict[str, Any]]) -> str | None:
        for case in cases:
            assert case.keys() <= CASE, case.keys() - CASE
            condition = self.value(case["condition"])
            assert isinstance(condition, bool), case
            if condition and "steps" in case:
                self.steps(case["steps"])
                return None
            if condition:
                return self.act({k: v for k, v in case.items() if k != "condition"})
        return None

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name in self.workflows:
            return self.run(name, **arguments)
        return self.calls[name](**arguments)

    def value(self, raw: Any) -> Any:
        if isinstance(raw, dict):
            return {key: self.value(one) for key, one in raw.items()}
        if isinstance(raw, list):
            return [self.value(one) for one in raw]
        if isinstance(raw, str) and (found := re.fullmatch(r"\$\{(.*)\}", raw, re.DOTALL)):
            assert len(raw) <= LONGEST_EXPRESSION, raw
            return self.evaluate(ast.parse(found[1], mode="eval").body)
        assert not (isinstance(raw, str) and "${" in raw), raw
        return raw

    def evaluate(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id="null"):
                return None
            case ast.Name(id=name):
                return self.variables[name]
            case ast.Attribute(value=owner, attr=name):
                return self.evaluate(owner)[name]
            case ast.List(elts=items):
                return [self.evaluate(one) for one in items]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.evaluate(left) + self.evaluate(right)
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                return self.evaluate(left) == self.evaluate(right)
            case ast.Compare(left=left, ops=[ast.In()], comparators=[right]):
                return self.evaluate(left) in self.evaluate(right)
            case ast.Call(func=function, args=arguments):
                return self.function(ast.unparse(function))(*map(self.evaluate, arguments))
        raise AssertionError(ast.unparse(node))

    def function(self, name: str) -> Callable[..., Any]:
        known: dict[str, Callable[..., Any]] = {
            "sys.get_env": self.environment.__getitem__,
            "sys.now": lambda: self.now,
            "time.format": lambda moment: moment,
            "text.replace_all": str.replace,
            "text.substring": lambda text, start, end: text[start:end],
            "text.to_lower": str.lower,
            "text.url_encode": lambda text: quote(text, safe=""),
            "map.get": lambda owner, key: (owner or {}).get(key),
            "default": lambda value, other: other if value is None else value,
            "get_type": lambda value: {dict: "map", bytes: "bytes", str: "string"}[type(value)],
            "string": str,
            "int": int,
            "json.encode": lambda value: json.dumps(value).encode(),
            "json.decode": json.loads,
            "base64.encode": lambda data: base64.b64encode(data).decode(),
        }
        return known[name]
