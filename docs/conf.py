"""The site that `make docs` builds: the checkout's pages as they stand, README.md first."""

from dataclasses import fields, is_dataclass
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon.docstring import GoogleDocstring

CONTENTS = """
```{toctree}
:hidden:
:caption: Your images
docs/how-to/tutorials
docs/how-to/own-images
docs/how-to/training
docs/how-to/small-models
docs/how-to/from-retrain
```
```{toctree}
:hidden:
:caption: Labels
docs/how-to/scoring
docs/how-to/serving
docs/how-to/model-server
docs/how-to/maintenance
docs/how-to/faults
```
```{toctree}
:hidden:
:caption: Scale
docs/how-to/object-storage
docs/how-to/beam
docs/how-to/flink
docs/how-to/dataflow
docs/how-to/slices
docs/how-to/changed-keys
docs/scale
```
```{toctree}
:hidden:
:caption: Every night
docs/how-to/workflow-runs
docs/how-to/workflow-file
docs/how-to/notifications
docs/how-to/one-machine
docs/how-to/kubernetes
docs/how-to/aws
docs/how-to/google-cloud
```
```{toctree}
:hidden:
:caption: Reference
docs/reference/command-line
docs/reference/python
docs/reference/tables
docs/reference/backbones
docs/architecture
CONTRIBUTING
CHANGELOG
```
"""
"""The navigation, which is added to README.md here so that its readers elsewhere do not meet it."""

project = html_title = "linnaeus"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = [".*", "build", "tests", "workspace", "bucket"]
html_theme = "furo"
html_extra_path = ["index.html"]
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 4  # named as GitHub names them
default_role = "code"  # docstrings are Markdown in this
autodoc_member_order = "bysource"
autodoc_mock_imports = ["tensorflow", "tf_keras", "keras", "ai_edge_litert", "flatbuffers", "scipy"]
autodoc_typehints_format = "short"
highlight_language = "text"


def _with_contents(app: Sphinx, page: str, source: list[str]) -> None:
    if page == app.config.root_doc:
        source[0] += CONTENTS


def _as_sphinx_reads_it(app: Sphinx, what: str, *event: Any) -> None:
    """Docstrings are Google's, whole: what is before a colon is no type, as Napoleon has it.

    A page says itself what a module is for. The help of a setting stands in its field's metadata.
    """
    _, documented, _, lines = event
    lines[:] = GoogleDocstring(lines).lines() if what != "module" else []
    if is_dataclass(documented):
        helps = {f.name: f.metadata["help"] for f in fields(documented) if "help" in f.metadata}
        lines += [f":param {field}: {text}" for field, text in helps.items()]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _with_contents)
    app.connect("autodoc-process-docstring", _as_sphinx_reads_it)
