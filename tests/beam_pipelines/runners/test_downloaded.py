"""What Beam's options get where a runner was fetched to this machine."""

import pytest

from beam_pipelines.runners.downloaded import flink_job_server, prism, with_fetched


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """A machine to which both runners were fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for path in (flink_job_server(), prism()):
        path.parent.mkdir(parents=True)
        path.touch()


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine to which nothing was fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def three_processors(monkeypatch):
    monkeypatch.setattr("beam_pipelines.runners.downloaded.processors", lambda: 3)


def test_flink_gets_the_fetched_job_server_its_version_and_all_processors(fetched):
    added = with_fetched(["--runner=FlinkRunner"])[1:]
    jar = f"--flink_job_server_jar={flink_job_server()}"
    assert sorted(added) == [jar, "--flink_version=1.19", "--parallelism=3"]


@pytest.mark.parametrize("given", [["--parallelism=8"], ["--parallelism", "8"]])
def test_a_parallelism_that_is_named_stays(fetched, given):
    assert "--parallelism=3" not in with_fetched(["--runner=FlinkRunner", *given])


@pytest.mark.parametrize(
    "named",
    [["--flink_job_server_jar=/mine.jar"], ["--flink_version=2.0"], ["--flink_version", "2.0"]],
)
def test_a_jar_or_a_version_of_ones_own_keeps_the_fetched_jar_away(fetched, named):
    assert with_fetched(["--runner=flink", *named])[1:] == [*named, "--parallelism=3"]


def test_a_version_that_is_the_fetched_one_takes_the_fetched_jar(fetched):
    options = with_fetched(["--runner=flink", "--flink_version", "1.19"])
    assert f"--flink_job_server_jar={flink_job_server()}" in options
    assert "--flink_version=1.19" not in options


@pytest.mark.parametrize("master", [["--flink_master=host:8081"], ["--flink_master", "host:8081"]])
def test_nothing_is_assumed_of_a_cluster_elsewhere(fetched, master):
    assert with_fetched(["--runner=FlinkRunner", *master]) == ["--runner=FlinkRunner", *master]


def test_prism_is_the_fetched_one_unless_another_is_named(fetched):
    assert f"--prism_location={prism()}" in with_fetched(["--runner=PrismRunner"])
    named = with_fetched(["--runner=PrismRunner", "--prism_location=/mine"])
    assert [one for one in named if "location" in one] == ["--prism_location=/mine"]


def test_where_nothing_was_fetched_beam_may_download(bare):
    assert with_fetched(["--runner=FlinkRunner"])[1:] == ["--parallelism=3"]
    assert not any("location" in one for one in with_fetched(["--runner=PrismRunner"]))


@pytest.mark.parametrize("options", [[], ["--runner=FnApiRunner"], ["--runner=PortableRunner"]])
def test_other_runners_get_nothing(fetched, options):
    assert with_fetched(options) == options
