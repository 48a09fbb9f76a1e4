"""A page is one file that needs no other, whatever the names in it are."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from linnaeus import Workspace, layout, manifests
from linnaeus.report import save
from linnaeus.report.building import build
from linnaeus.storage import Folder
from tests.conftest import S3Server
from tests.linnaeus.report.conftest import judged_pictures
from tests.linnaeus.report.finished_runs import (
    SCORING_RUN,
    TRAINING_RUN,
    Pictures,
    write_changes,
    write_embeddings,
    write_scoring,
    write_training,
)

LARGEST_BYTES = 5_000_000
NASTY = ["</script><script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>", "{{ 7 * 7 }}"]


class Tags(HTMLParser):
    """The tags of a page, each with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(things: Pictures, workspace: Folder):
    write_embeddings(workspace, things)
    write_training(workspace, things)
    page = build(workspace, TRAINING_RUN)
    for tag, attributes in Tags(page).found:
        assert tag not in ("iframe", "object", "embed")
        for name in ("src", "href", "style"):
            value = attributes.get(name) or ""
            assert "//" not in re.sub(r"data:image/jpeg;base64,[\w+/=]*", "", value)
    assert "default-src 'none'" in page
    assert len(page.encode()) < LARGEST_BYTES


@pytest.mark.slow
def test_names_never_become_markup(tmp_path: Path, workspace: Folder):
    harmless = judged_pictures(tmp_path / "pictures", ["a", "b", "c"], 45)
    write_embeddings(workspace, harmless)
    plain = Tags(write_and_build(workspace, harmless)).found
    truths = [[NASTY["abc".index(truth[0])]] for truth in harmless.truths]
    nasty = dataclasses.replace(harmless, labels=NASTY, truths=truths)
    page = write_and_build(workspace, nasty)
    # The same tags in the same number, and none with an attribute that a name brought in.
    assert sorted(tag for tag, _ in Tags(page).found) == sorted(tag for tag, _ in plain)
    assert {name for _, attributes in Tags(page).found for name in attributes} <= {
        name for _, attributes in plain for name in attributes
    }
    assert "{{ 7 * 7 }}" in page


def write_and_build(workspace: Folder, pictures: Pictures) -> str:
    write_training(workspace, pictures)
    return build(workspace, TRAINING_RUN)


def test_pictures_and_embeddings_that_are_gone_cost_no_page(things: Pictures, workspace: Folder):
    write_training(workspace, things)
    for uri in things.uris[:30]:
        Path(uri).unlink()
    page = build(workspace, "things")
    assert "cannot be read any more" in page
    assert "Map of the embeddings" not in page
    assert "data:image/jpeg" in page


def test_several_labels_have_no_confusion_matrix(things: Pictures, workspace: Folder):
    truths = [[*truth, "extra"] for truth in things.truths]
    several = dataclasses.replace(
        things,
        labels=[*things.labels, "extra"],
        truths=truths,
        scores=np.pad(things.scores, ((0, 0), (0, 1)), constant_values=0.7),
        task="multi",
    )
    page = write_and_build(workspace, several)
    assert "Confusion matrix" not in page
    assert "threshold" in page
    assert "bird, extra" in page or "extra, bird" in page


def test_a_scoring_run_shows_its_failures(things: Pictures, workspace: Folder, tmp_path: Path):
    write_training(workspace, things)
    failure = {"uri": "/x/<b>.jpg", "code": "CORRUPT", "message": "the picture is damaged"}
    manifest = manifests.freeze(workspace, str(tmp_path / "things"))
    write_scoring(workspace, things, manifest, [failure])
    page = build(workspace, SCORING_RUN)
    assert "CORRUPT" in page
    assert "/x/&lt;b&gt;.jpg" in page
    right = [label == truth for [truth], label in zip(things.truths, best(things), strict=True)]
    held_out = f"48 pictures held out of its training to test it, of which {sum(right[12:])} are"
    assert held_out in page


def best(pictures: Pictures) -> list[str]:
    return [pictures.labels[n] for n in pictures.scores.argmax(axis=1)]


def test_a_scoring_run_without_a_label_to_judge_by(things: Pictures, workspace: Folder, tmp_path):
    elsewhere = [f"/elsewhere{uri}" for uri in things.uris]
    write_training(workspace, dataclasses.replace(things, uris=elsewhere))
    listing = tmp_path / "all.csv"
    listing.write_text("uri\n" + "\n".join(things.uris))
    write_scoring(workspace, things, manifests.freeze(workspace, str(listing)), [])
    page = build(workspace, SCORING_RUN)
    assert "held out" not in page
    assert 'class="title right"' not in page


def change(uri: str, was: list[str], labels: list[str], confidence: float) -> dict[str, object]:
    sure = {"was_confidence": 0.61, "was_version": 1, "confidence": confidence}
    return {"uri": uri, "etag": "e", "sha256": "s", "was": was, "labels": labels, **sure}


def test_a_scoring_run_shows_what_it_changed(things: Pictures, workspace: Folder, tmp_path: Path):
    write_training(workspace, things)
    write_scoring(workspace, things, manifests.freeze(workspace, str(tmp_path / "things")), [])
    uris = things.uris
    rows = [change(uri, ["cat"], ["dog"], 0.7) for uri in uris[:3]]
    rows += [
        change(uris[3], ["<b>bird"], [], 0.9),
        change(str(tmp_path / "gone.jpg"), [], ["cat"], 0.2),
    ]
    write_changes(workspace, rows, compared=50)
    page = build(workspace, SCORING_RUN)
    section = page.split('<section id="changes">')[1].split("</section>")[0]
    assert "5 pictures of 50 that had a label before have another one now: 10.0" in section
    assert '<td>cat</td><td>dog</td><td class="n">3</td>' in section
    assert (
        section.index("was &lt;b&gt;bird") < section.index("was cat") < section.index("was unknown")
    )
    assert section.count("data:image/jpeg") == 4
    assert section.count("cannot be read any more</div>") == 1


def test_a_first_scoring_run_shows_no_changes(things: Pictures, workspace: Folder, tmp_path: Path):
    write_training(workspace, things)
    write_scoring(workspace, things, manifests.freeze(workspace, str(tmp_path / "things")), [])
    assert 'id="changes"' not in build(workspace, SCORING_RUN)


def test_the_page_lies_with_its_run_or_where_it_is_asked_for(
    things: Pictures, workspace: Folder, tmp_path: Path
):
    write_training(workspace, things)
    asked = str(tmp_path / "asked.html")
    assert save(workspace, "things", asked) == asked
    uri = Workspace(workspace.uri).report("things")
    assert uri == workspace.uri_of(layout.report(TRAINING_RUN))
    assert Path(uri).read_text() == Path(asked).read_text()


@pytest.mark.slow
def test_workspace_and_pictures_may_be_in_object_storage(things: Pictures, s3: S3Server):
    bucket = s3.bucket()
    workspace, images = Folder(f"{bucket}/workspace"), Folder(f"{bucket}/images")
    for number, uri in enumerate(things.uris):
        images.write(f"{number}.jpg", Path(uri).read_bytes())
    remote = dataclasses.replace(
        things, uris=[images.uri_of(f"{number}.jpg") for number in range(len(things.uris))]
    )
    write_embeddings(workspace, remote)
    write_training(workspace, remote)
    uri = save(workspace, "things")
    assert uri == f"{bucket}/workspace/runs/{TRAINING_RUN}/report.html"
    page = workspace.read(layout.report(TRAINING_RUN)).decode()
    assert "cannot be read any more" not in page.split("<script>", maxsplit=1)[0]
    assert "Map of the embeddings" in page
