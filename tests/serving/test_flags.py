"""The flags of the stock program, in all their spellings."""

import pytest

from serving import flags


def parse(*argv: str):
    return flags.parse(argv, "A server.")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--enable_batching", True),
        ("--enable_batching=true", True),
        ("--enable_batching=True", True),
        ("--enable_batching=1", True),
        ("--enable_batching=false", False),
        ("--enable_batching=0", False),
        ("--port=1", False),
    ],
)
def test_switches_have_tensorflows_spellings(argument: str, value: bool):
    assert parse(argument).enable_batching is value


def test_an_older_name_of_a_switch_is_taken():
    assert parse("--use_tflite_model=true").prefer_tflite_model is True
    assert parse("--prefer_tflite_model").prefer_tflite_model is True
    assert parse().prefer_tflite_model is False


def test_defaults_are_tensorflow_servings():
    options = parse()
    assert (
        vars(options).items()
        >= {
            "port": 8500,
            "rest_api_port": 0,
            "rest_api_timeout_in_ms": 30000,
            "model_name": "default",
            "model_config_file_poll_wait_seconds": 0,
            "file_system_poll_wait_seconds": 1,
            "max_num_load_retries": 5,
            "load_retry_interval_micros": 60_000_000,
            "enable_model_warmup": True,
            "enable_batching": False,
            "saved_model_tags": "serve",
            "host": "127.0.0.1",
        }.items()
    )


@pytest.mark.parametrize("name", flags.WITHOUT_EFFECT)
def test_flags_without_effect_are_taken_and_listed(name: str, capsys: pytest.CaptureFixture):
    parse(f"--{name}", f"--{name}=1", f"--{name}=true")
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    assert f"--{name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argument",
    ["--no_such_flag=1", "--por=8500", "--port=x", "--enable_batching=maybe", "stray"],
)
def test_a_wrong_flag_prints_the_usage_and_ends(argument: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as caught:
        parse(argument)
    assert caught.value.code not in (0, None)
    assert "usage:" in capsys.readouterr().err
