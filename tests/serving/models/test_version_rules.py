"""Which versions stay loaded, over any course of folders, failures and policies."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

VERSIONS = st.frozensets(st.integers(1, 4))
MOST = st.sampled_from([1, 2, None])
STEPS = st.lists(st.tuples(st.none() | VERSIONS, VERSIONS, MOST), max_size=8)
"""Folders that are there (None: not even their base), versions that load, and the policy."""


def lay_out(base: Path, present: frozenset[int] | None) -> None:
    for number in range(1, 5):
        graph = base / str(number) / "saved_model.pb"
        if present is not None and number in present:
            graph.parent.mkdir(parents=True, exist_ok=True)
            graph.touch()
        elif graph.exists():
            graph.unlink()
            graph.parent.rmdir()
    if present is None:
        if base.exists():
            base.rmdir()
    else:
        base.mkdir(exist_ok=True)


def expected(
    loaded: set[int], present: frozenset[int] | None, loadable: frozenset[int], most: int | None
) -> set[int]:
    if present is None:
        return loaded
    wanted = set(sorted(present, reverse=True)[:most])
    fit = {version for version in wanted if version in loaded or version in loadable}
    return fit if fit or not wanted else loaded


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_what_is_wanted_and_loads_is_served_and_a_model_never_goes_without_need(steps: list):
    from serving.grpc_status import not_found
    from serving.models import versions as module
    from serving.models.model_config import ModelConfig
    from serving.models.version_folder import VersionPolicy

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        base = Path(folder) / "m"
        options = module.VersionOptions(max_load_retries=10**6, load_retry_seconds=0)
        versions = module.ModelVersions(ModelConfig("m", str(base)), options)
        loaded: set[int] = set()
        for present, loadable, most in steps:

            def load(path: Path, _: Any, fit: Any = loadable, before: Any = loaded) -> object:
                assert bool(versions.loaded) or not before
                assert versions.states[int(path.name)].state.name == "LOADING"
                if int(path.name) not in fit:
                    raise not_found("it does not load")
                return object()

            patch.setattr(module, "load", load)
            patch.setattr(module.gc, "collect", int)  # no graph is there to be freed
            lay_out(base, present)
            versions.configure(ModelConfig("m", str(base), VersionPolicy(most)))
            versions.refresh()
            loaded = expected(loaded, present, loadable, most)
            assert set(versions.loaded) == loaded
            assert loaded == {
                v for v, state in versions.states.items() if state.state.name == "AVAILABLE"
            }


def test_states_pass_in_the_protocols_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from serving.models import versions as module
    from serving.models.model_config import ModelConfig
    from serving.models.version_folder import VersionPolicy

    lay_out(tmp_path / "m", frozenset({1, 2}))
    config = ModelConfig("m", str(tmp_path / "m"), VersionPolicy(None))
    versions = module.ModelVersions(config, module.VersionOptions())
    monkeypatch.setattr(module, "load", lambda *_: object())
    passed: list[tuple[int, str]] = []
    set_state = versions._set_state
    monkeypatch.setattr(
        versions,
        "_set_state",
        lambda version, state: (
            passed.append((version, state.state.name)),
            set_state(version, state),
        ),
    )
    versions.refresh()
    versions.close()
    assert [version for version, name in passed if name == "START"] == [2, 1]
    for version in (1, 2):
        names = [name for v, name in passed if v == version]
        assert names == ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@pytest.mark.parametrize("leaves", ["version", "model"])
def test_a_version_that_failed_and_is_wanted_no_longer_has_come_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: str
):
    from serving.grpc_status import not_found
    from serving.models import versions as module
    from serving.models.model_config import ModelConfig

    def load(*_: Any) -> Any:
        raise not_found("it does not load")

    monkeypatch.setattr(module, "load", load)
    lay_out(tmp_path / "m", frozenset({2}))
    versions = module.ModelVersions(ModelConfig("m", str(tmp_path / "m")), module.VersionOptions())
    versions.refresh()
    assert versions.states[2].state.name == "LOADING"
    lay_out(tmp_path / "m", frozenset())
    if leaves == "model":
        versions.configure(None)
    versions.refresh()
    state = versions.states[2]
    assert (state.state.name, state.message) == ("END", "it does not load")
