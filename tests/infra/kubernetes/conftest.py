"""The objects that the real Kustomize makes of the base, the overlays, and an overlay with all."""

import os
import re
from pathlib import Path

import pytest

from infra.kubernetes import check
from infra.kubernetes.kustomize import kustomize
from tests.infra.kubernetes.objects import FOLDER, Objects


@pytest.fixture(scope="session")
def program() -> Path:
    """Kustomize, which is built the first time."""
    return kustomize()


@pytest.fixture(scope="session")
def rendered(program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Objects]:
    """`local`, `aws` and `gcp`, the last two also with all components, as `aws+`."""
    found = {}
    for name in ("local", "aws", "gcp"):
        found[name] = Objects(check.render(str(FOLDER / "overlays" / name)))
    for name in ("aws", "gcp"):
        folder = with_components(name, tmp_path_factory.mktemp(name))
        found[f"{name}+"] = Objects(check.render(str(folder)))
    return found


def with_components(name: str, folder: Path) -> Path:
    """A copy of an overlay in which the lines of its components are no comments any more."""
    up = os.path.relpath(FOLDER, folder)
    for path in (FOLDER / "overlays" / name).iterdir():
        text = path.read_text()
        if path.name == "kustomization.yaml":
            text, count = re.subn(r"^  # (- \.\./\.\./components/)", r"  \1", text, flags=re.M)
            assert count == 3
            text = text.replace("- ../../", f"- {up}/")
        (folder / path.name).write_text(text)
    return folder


@pytest.fixture(params=["local", "aws", "gcp", "aws+", "gcp+"])
def objects(request: pytest.FixtureRequest, rendered: dict[str, Objects]) -> Objects:
    """Those of each in turn."""
    return rendered[request.param]
