"""The whole loop on a set of real pictures: put into a bucket, embedded, trained on, labelled."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from linnaeus.cli.session import Session
from linnaeus.cli.wording import accuracy_text
from linnaeus.documents import json_values
from linnaeus.errors import ReconciliationError
from linnaeus.progress import count_text

if TYPE_CHECKING:
    import pyarrow as pa

    from linnaeus.datasets import Dataset
    from linnaeus.manifests import Manifest
    from linnaeus.models import Model
    from linnaeus.training.config import TrainConfig
    from linnaeus.workspace import Workspace

SAMPLE_ROWS = 3


@dataclass(frozen=True)
class Report:
    """What the demo ends with."""

    dataset: str
    nothing_to_do: bool
    test: dict[str, Any]
    """Metrics of the model on the held-out pictures."""
    counts: dict[str, int]
    """`objects`, and of them `labelled` and `failed`."""
    rows: list[dict[str, Any]]
    places: dict[str, str]


def demo(
    session: Session,
    dataset: Annotated[
        Literal["solar-cells", "digits", "mnist", "flowers"],
        typer.Option(help="Which pictures; mnist and flowers are downloaded."),
    ] = "solar-cells",
    bucket: Annotated[
        Path, typer.Option(help="Folder that stands for a bucket; the pictures are put there.")
    ] = Path("bucket"),
) -> None:
    """Label real pictures from end to end, on this machine."""
    from linnaeus.datasets import DATASETS, place
    from linnaeus.storage import normalise

    chosen = DATASETS[dataset]
    root = Path(normalise(str(bucket)))  # shown, like the other places, as an absolute path
    images = place(chosen.samples, root / dataset, chosen.images, session.progress)
    report = run_loop(session.workspace, chosen, str(images), str(root / f"{dataset}-labels"))
    session.show(report, report_text(report))


def run_loop(workspace: Workspace, dataset: Dataset, images: str, output: str) -> Report:
    """Do what is not yet done of manifest, embed, train and score, and report."""
    name = dataset.name
    manifest = workspace.manifest(images)
    embedded = workspace.embed(images, backbone=dataset.backbone)
    known = _trained_on(workspace, manifest, dataset)
    model = known or workspace.train(images, name, _config(dataset))
    scored = workspace.score(images, name, output=output)
    labels = _labels_of(workspace, manifest, name)
    return Report(
        dataset=name,
        nothing_to_do=embedded.run_id is None and known is not None and scored.run_id is None,
        test=dict(model.metrics["test"]),
        counts=_reconciled(labels, manifest),
        rows=_sample_rows(labels),
        places={
            "pictures": str(Path(images).parent),
            "tables": workspace.folder.uri,
            "model": workspace.folder.uri_of(model.prefix),
            "labels": workspace.folder.uri_of(f"labels/{name}"),
            "label files": output,
        },
    )


def _config(dataset: Dataset) -> TrainConfig:
    from linnaeus.training.config import TrainConfig

    return TrainConfig(backbone=dataset.backbone)


def _trained_on(workspace: Workspace, manifest: Manifest, dataset: Dataset) -> Model | None:
    """The newest model, if it is what training again would make."""
    from linnaeus.models import find_newest

    model = find_newest(workspace.folder, dataset.name)
    return model if model and _would_repeat(model, manifest, _config(dataset)) else None


def _would_repeat(model: Model, manifest: Manifest, config: TrainConfig) -> bool:
    asked = json_values(asdict(config))
    known = {name: model.hyperparameters.get(name) for name in asked}
    return (model.data["manifest_id"], known) == (manifest.id, asked)


def _labels_of(workspace: Workspace, manifest: Manifest, model: str) -> pa.Table:
    import pyarrow.compute as pc

    labels = workspace.labels(model).to_arrow()
    return labels.filter(pc.equal(labels["source"], manifest.source)).sort_by("uri")


def _reconciled(labels: pa.Table, manifest: Manifest) -> dict[str, int]:
    from linnaeus.records import FAILED, LABELLED

    statuses = labels["status"].to_pylist()
    labelled, failed = statuses.count(LABELLED), statuses.count(FAILED)
    if labelled + failed != manifest.objects:
        raise ReconciliationError(
            f"{manifest.objects:,} objects in manifest {manifest.id}, but the labels have "
            f"{labelled:,} labelled and {failed:,} failed: run the same command again"
        )
    return {"objects": manifest.objects, "labelled": labelled, "failed": failed}


def _sample_rows(labels: pa.Table) -> list[dict[str, Any]]:
    """The first, the middle and the last row."""
    last = labels.num_rows - 1
    chosen = sorted({last * number // (SAMPLE_ROWS - 1) for number in range(SAMPLE_ROWS)})
    rows: list[dict[str, Any]] = (
        labels.select(["uri", "label", "confidence"]).take(chosen).to_pylist()
    )
    return rows


def report_text(report: Report) -> str:
    """The report for people."""
    counts = report.counts
    begin = ["Nothing to do: everything is up to date."] if report.nothing_to_do else []
    lines = [
        *begin,
        "",
        f"Test accuracy  {accuracy_text(report.test)}",
        f"Counts         {count_text(counts['objects'], 'objects')} = "
        f"{counts['labelled']:,} labelled + {counts['failed']:,} failed",
        "",
        "Three of the labels:",
        *[_row_text(row) for row in report.rows],
        "",
        "Where everything lies:",
        *[f"  {what:<12} {where}" for what, where in report.places.items()],
        "",
        "On your own images, a folder for each label:",
        *([] if shutil.which("linnaeus") else [f"  source {sys.prefix}/bin/activate"]),
        "  linnaeus embed ./photos",
        "  linnaeus train ./photos --model mine",
        "  linnaeus score ./photos --model mine --output ./photo-labels",
        "  linnaeus label photo.jpg --model mine",
    ]
    return "\n".join(lines)


def _row_text(row: dict[str, Any]) -> str:
    if row["label"] is None:
        return f"  {Path(row['uri']).name}  failed"
    return f"  {Path(row['uri']).name}  {row['label']}  {row['confidence']:.3f}"
