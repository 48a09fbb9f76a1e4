import pytest

from beam_pipelines.runners.options import check_beam_options
from linnaeus.errors import ConfigurationError


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--runner=FnApiRunner"],
        [
            "--runner",
            "PortableRunner",
            "--job_endpoint=localhost:8099",
            "--environment_type=EXTERNAL",
        ],
        ["--direct_num_workers=2", "--direct_running_mode=multi_processing"],
        ["--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b/t"],
    ],
)
def test_options_that_beam_knows_pass(options: list[str]):
    check_beam_options(options)


@pytest.mark.parametrize("option", ["--runnerx=3", "--direct_num_worker=2", "photos"])
def test_a_slip_is_named(option: str):
    with pytest.raises(ConfigurationError, match=option):
        check_beam_options(["--runner=FnApiRunner", option])


def test_a_runner_that_there_is_not_is_named():
    with pytest.raises(ConfigurationError, match="NoRunner"):
        check_beam_options(["--runner=NoRunner"])
