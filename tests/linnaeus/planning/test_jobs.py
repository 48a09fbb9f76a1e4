"""What differs between the two jobs is said in one module, and found again by a plan's word."""

import ast
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from linnaeus import layout
from linnaeus.errors import ConfigurationError
from linnaeus.planning import EmbedJob, ScoreJob, job_named, job_of

ROOT = Path(__file__).parents[3]
EMBED = EmbedJob("f00")
SCORE = ScoreJob("f00", "m", 3, "embedding", "multi", "01TRAINED")
WORDS = {EmbedJob.word, ScoreJob.word}


def words_compared(path: Path) -> list[str]:
    """Where a module asks whether something is the word of a job."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text())):
        compared: list[ast.expr] = []
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            compared = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            compared = [node.value]
        if any(isinstance(one, ast.Constant) and one.value in WORDS for one in compared):
            lines.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return lines


def test_no_module_asks_by_its_word_which_job_it_is():
    packages = ("linnaeus", "beam_pipelines", "serving", "infra", "benchmarks")
    modules = chain.from_iterable((ROOT / package).rglob("*.py") for package in packages)
    assert [line for path in modules for line in words_compared(path)] == []


@pytest.mark.parametrize("job", [EMBED, SCORE])
def test_a_run_names_its_job_which_is_found_again_by_it(job):
    run = job.new_run("/images", "m-1")
    assert (run.job, run.source, run.manifest_id) == (job.word, "/images", "m-1")
    assert job_of(run) == job
    restricted = replace(job, only=frozenset(["/images/a"]), retried_codes=frozenset(["TIMEOUT"]))
    assert job_of(restricted.new_run("/images", "m-1")) == job


def test_a_word_of_no_job_is_refused():
    with pytest.raises(ConfigurationError, match="'train': choose embed or score"):
        job_named("train")


def test_a_shards_receipt_is_a_part_of_the_table_that_is_committed_last():
    common = [layout.embeddings("f00"), layout.FAILURES, layout.OBJECTS]
    assert list(EMBED.tables) == common
    assert list(SCORE.tables) == [*common, layout.predictions("m")]
    assert EMBED.receipt_table == layout.OBJECTS
    assert SCORE.receipt_table == layout.predictions("m")


def test_vectors_are_computed_unless_pictures_are_sent():
    payloads = [job for job in ("embedding", "pixels", "image") if _sending(job).computes_vectors]
    assert payloads == ["embedding"]
    assert EMBED.computes_vectors


def test_whatever_a_command_asks_otherwise_is_numbered_apart():
    asked = [
        *(EMBED, replace(EMBED, fingerprint="f11"), replace(EMBED, only=frozenset())),
        *(SCORE, replace(SCORE, model_version=4), replace(SCORE, trained_by="01OTHER")),
        *(_sending("pixels"), replace(SCORE, retried_codes=frozenset(["TIMEOUT"]))),
    ]
    indexes = {job.index(source) for job in asked for source in ("/a", "/b")}
    assert len(indexes) == 2 * len(asked)
    assert replace(SCORE).index("/a") == SCORE.index("/a")


def _sending(payload: str) -> ScoreJob:
    return replace(SCORE, payload=payload)
