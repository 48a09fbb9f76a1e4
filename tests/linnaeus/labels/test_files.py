import io
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from linnaeus import manifests
from linnaeus.errors import ConfigurationError, DamagedFile
from linnaeus.jobs import run_job
from linnaeus.labels import LabelFiles, LabelsTable
from linnaeus.progress import SILENT
from linnaeus.records import LABELS
from linnaeus.storage import Folder
from tests.buckets import fill
from tests.linnaeus.runs.test_opening import SCORE, in_this_process

OURS = ["part-00000-of-00002.csv", "part-00001-of-00002.csv"]
SOMEBODYS = ["part-time/photo.jpg", "part-00000-5f2e.snappy.parquet", "part-list.csv"]


@pytest.fixture
def labels(workspace: Folder, tmp_path):
    manifest = manifests.freeze(workspace, str(fill(tmp_path / "bucket", 4)))
    run_job(workspace, SCORE, manifest, in_this_process(workspace), SILENT)
    return LabelsTable(workspace, "m"), manifest.source


def test_only_label_files_of_earlier_runs_are_taken_away(labels, tmp_path):
    folder = Folder(str(tmp_path / "output"))
    for key in SOMEBODYS:
        folder.write(key, b"kept")
    LabelFiles(folder, "csv", rows_per_file=2).write(*labels, {})
    assert folder.read("_SUCCESS.json").endswith(b"}\n")
    assert {entry.key for entry in folder.list()} == {*OURS, *SOMEBODYS, "_SUCCESS.json"}
    LabelFiles(folder, "jsonl").write(*labels, {})
    written = {entry.key for entry in folder.list()}
    assert written == {"part-00000-of-00001.jsonl", *SOMEBODYS, "_SUCCESS.json"}


def score(workspace, bucket, job):
    manifest = manifests.freeze(workspace, str(bucket))
    run_job(workspace, job, manifest, in_this_process(workspace), SILENT)
    return LabelsTable(workspace, job.model), manifest.source


def marker(folder):
    return json.loads(folder.read("_SUCCESS.json"))


def test_labels_of_another_model_or_workspace_replace_those_that_are_there(labels, tmp_path):
    """The first scoring of any model is version 1 of its table."""
    folder, bucket = Folder(str(tmp_path / "output")), tmp_path / "bucket"
    files = LabelFiles(folder, "csv")
    files.write(*labels, {"model": "m"})
    seen = [marker(folder)]
    others = [(Folder(str(tmp_path / "anew")), "m"), (labels[0].workspace, "other")]
    for workspace, name in others:
        found = score(workspace, bucket, replace(SCORE, model=name))
        files.write(*found, {"model": name})
        seen.append(marker(folder))
    assert [one["labels"] for one in seen] == [1, 1, 1]
    assert len({one["table"] for one in seen}) == 3


def test_labels_of_a_number_that_was_given_again_replace_those_that_are_there(labels, tmp_path):
    files = LabelFiles(Folder(str(tmp_path / "output")), "csv")
    files.write(*labels, {"model": "m", "model_version": 1, "trained_by": "first"})
    files.write(*labels, {"model": "m", "model_version": 1, "trained_by": "second"})
    assert marker(files.folder)["trained_by"] == "second"


@pytest.mark.parametrize("harm", ["deleted", "cut"])
def test_parts_that_are_gone_or_cut_are_written_again_and_whole_ones_are_not(
    labels, tmp_path, harm
):
    files = LabelFiles(Folder(str(tmp_path / "output")), "csv", rows_per_file=2)
    files.write(*labels, {})
    first, second = (tmp_path / "output" / name for name in OURS)
    kept = second.read_bytes()
    if harm == "deleted":
        second.unlink()
    else:
        second.write_bytes(kept[:10])
    files.write(*labels, {})
    assert second.read_bytes() == kept
    written = first.stat().st_mtime_ns
    files.write(*labels, {})
    assert first.stat().st_mtime_ns == written


def test_a_folder_with_parts_of_a_stranger_is_refused_and_left_as_it_is(labels, tmp_path):
    folder = Folder(str(tmp_path / "output"))
    folder.write("part-00000-of-00010.csv", b"kept")
    with pytest.raises(ConfigurationError, match=r"part-00000-of-00010.csv is of no .*move it"):
        LabelFiles(folder, "csv").write(*labels, {})
    assert [(one.key, one.size) for one in folder.list()] == [("part-00000-of-00010.csv", 4)]


def test_whoever_was_killed_while_writing_leaves_nothing_foreign(labels, tmp_path, monkeypatch):
    files = LabelFiles(Folder(str(tmp_path / "output")), "csv", rows_per_file=2)
    files.write(*labels, {})
    whole = Folder.writing

    def killed(folder, key):
        if key == "part-00001-of-00004.jsonl":
            raise KeyboardInterrupt
        return whole(folder, key)

    monkeypatch.setattr(Folder, "writing", killed)
    with pytest.raises(KeyboardInterrupt):
        LabelFiles(files.folder, "jsonl", rows_per_file=1).write(*labels, {})
    monkeypatch.undo()
    assert files.folder.head("_SUCCESS.json") is None
    LabelFiles(files.folder, "jsonl").write(*labels, {})
    names = {entry.key for entry in files.folder.list()}
    assert names == {"part-00000-of-00001.jsonl", "_SUCCESS.json"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": '])
def test_a_marker_that_is_not_ours_is_left_and_told(labels, tmp_path, text):
    folder = Folder(str(tmp_path / "output"))
    folder.write("_SUCCESS.json", text.encode())
    with pytest.raises(DamagedFile, match=r"_SUCCESS.json is damaged or not .*move it away"):
        LabelFiles(folder, "csv").write(*labels, {})
    assert folder.read("_SUCCESS.json") == text.encode()


TEXTS = ["", "a", 'say "é"\n', "back\\slash,\t|", "\x01\U0001f98a"]


def some_labels(count, seed):
    """Labels of every kind, in no order, of which a third are another source's."""
    chance = random.Random(seed)
    kinds = {
        pa.string(): lambda: chance.choice(TEXTS),
        pa.int64(): lambda: chance.randrange(-3, 9),
        pa.float32(): lambda: chance.choice([0.1, 1.0, 1e-7, 3e20]),
        LABELS.field("scored_at").type: lambda: (
            datetime(2024, 9, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(3) * 500_000)
        ),
    }

    def value(kind):
        if pa.types.is_list(kind):
            return [kinds[kind.value_type]() for _ in range(chance.randrange(3))]
        return kinds[kind]()

    def row(number):
        given = {f.name: value(f.type) for f in LABELS if chance.random() < 0.8}
        fixed = {
            "source": "theirs" if number % 3 == 0 else "ours",
            "uri": f"{chance.choice(['Z', 'a', 'é', '~'])}/{number}",
            "status": chance.choice(["labelled", "failed"]),
        }
        return given | fixed

    return pa.Table.from_pylist([row(n) for n in range(count)], schema=LABELS)


def put(workspace, rows):
    labels = LabelsTable(workspace, "m")
    known = {"predicate": "true", "versions": {}, "done": lambda _: False, "judge": lambda _: None}
    labels.table.replace(rows.to_reader, **known)
    return labels


def in_memory(rows, form):
    """A file's bytes, by a writer that has all rows at once."""
    sink = io.BytesIO()
    if form == "jsonl":
        lines = (
            json.dumps(r, ensure_ascii=False, default=datetime.isoformat) for r in rows.to_pylist()
        )
        return "".join(line + "\n" for line in lines).encode()
    if form == "parquet":
        pq.write_table(rows, sink, compression="zstd")
    else:
        for i, field in enumerate(rows.schema):
            if pa.types.is_list(field.type):
                texts = rows[field.name].cast(pa.list_(pa.string()))
                rows = rows.set_column(i, field.name, pc.binary_join(texts, "|"))
        pyarrow.csv.write_csv(rows, sink)
    return sink.getvalue()


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize(("count", "rows_per_file"), [(2, 5), (60, 7), (60, 10), (300, 500)])
def test_files_are_those_of_a_writer_that_has_all_rows_at_once(
    workspace, tmp_path, form, count, rows_per_file
):
    rows = some_labels(count, seed=count)
    folder = Folder(str(tmp_path / "output"))
    LabelFiles(folder, form, rows_per_file).write(put(workspace, rows), "ours", {})
    ours = rows.filter(pc.field("source") == "ours").sort_by("uri").combine_chunks()
    files = max(1, -(-ours.num_rows // rows_per_file))
    slices = [ours.slice(i * rows_per_file, rows_per_file) for i in range(files)]
    names = [f"part-{i:05d}-of-{files:05d}.{form}" for i in range(files)]
    expected = {name: in_memory(rows, form) for name, rows in zip(names, slices, strict=True)}
    written = {entry.key: folder.read(entry.key) for entry in folder.list()}
    marker = json.loads(written.pop("_SUCCESS.json"))
    assert written == expected
    assert marker["files"] == {name: len(data) for name, data in expected.items()}
    assert marker["rows"] == ours.num_rows
    for status in ("labelled", "failed"):
        assert marker[status] == ours["status"].to_pylist().count(status)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_a_source_without_objects_has_one_file_without_rows(workspace, tmp_path, form):
    LabelFiles(Folder(str(tmp_path)), form).write(put(workspace, some_labels(1, 0)), "ours", {})
    part = tmp_path / f"part-00000-of-00001.{form}"
    if form == "parquet":
        assert pq.read_table(part).equals(LABELS.empty_table())
    else:
        assert part.read_bytes() == in_memory(LABELS.empty_table(), form)
    marker = json.loads((tmp_path / "_SUCCESS.json").read_text())
    assert (marker["rows"], marker["labelled"], marker["failed"]) == (0, 0, 0)
