import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linnaeus.errors import ConfigurationError, FailureCode, ImageError
from linnaeus.images import Limits, decode
from linnaeus.isolation import IsolatedDecoder
from tests import pictures

# A decoder whose fate is the picture's first bytes; in a file of its own, as a real one is.
DECODER = """
import os, time
import numpy as np
from linnaeus import images

def decode(data, height, width, limits):
    if data == b"abort":
        os.abort()
    if data == b"sleep":
        time.sleep(60)
    if data == b"spin":
        while True:
            pass
    if data == b"fill":
        return np.ones(1 << 40, np.uint8)
    if data == b"bug":
        raise RuntimeError("not an image error")
    if data == b"print":
        print("x" * 100_000, flush=True)
        data = b""
    if data == b"pid":
        return images.Picture(np.zeros((1, 1, 3), np.uint8), os.getpid(), 1, "PID")
    return images.decode(data, height, width, limits)
"""


class Fated(IsolatedDecoder):
    decode_function = "fated_decoder:decode"


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatedDecoder]:
    (tmp_path / "fated_decoder.py").write_text(DECODER)
    monkeypatch.syspath_prepend(str(tmp_path))
    with closing(Fated(24, 32, timeout_seconds=0.5)) as decoder:
        yield decoder


def child_pid(decoder: IsolatedDecoder) -> int:
    return decoder.decode(b"pid").width


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_pictures_come_out_as_in_the_process_itself():
    with closing(IsolatedDecoder(24, 32, Limits())) as isolated:
        for data in pictures.every_format().values():
            want, got = decode(data, 24, 32), isolated.decode(data)
            np.testing.assert_array_equal(got.pixels, want.pixels)
            assert (got.width, got.height, got.format) == (want.width, want.height, want.format)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", FailureCode.EMPTY),
        (pictures.TEXT, FailureCode.NOT_AN_IMAGE),
        (pictures.heic(), FailureCode.UNSUPPORTED),
        (pictures.jpeg()[:-2], FailureCode.CORRUPT),
        (pictures.bomb(), FailureCode.TOO_LARGE),
    ],
)
def test_refusals_pass_with_code_and_message(
    decoder: IsolatedDecoder, data: bytes, code: FailureCode
):
    with pytest.raises(ImageError) as here:
        decode(data, 24, 32)
    with pytest.raises(ImageError) as there:
        decoder.decode(data)
    assert there.value.code == code
    assert str(there.value) == str(here.value)


def test_limits_reach_the_child():
    with (
        closing(IsolatedDecoder(24, 32, Limits(image_bytes=10))) as isolated,
        pytest.raises(ImageError) as caught,
    ):
        isolated.decode(pictures.png())
    assert caught.value.code == FailureCode.TOO_LARGE


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"abort", "SIGABRT"),
        (b"sleep", "took more than 0.5 seconds"),
        (b"spin", "took more than 0.5 seconds"),
        (b"fill", "status 1"),
        (b"bug", "status 1"),
    ],
)
def test_what_kills_the_child_is_crashed_and_the_next_picture_gets_a_fresh_one(
    decoder: IsolatedDecoder, data: bytes, message: str
):
    first = child_pid(decoder)
    with pytest.raises(ImageError, match=message) as caught:
        decoder.decode(data)
    assert caught.value.code == FailureCode.CRASHED
    assert not alive(first)
    assert decoder.decode(pictures.png()).width == 64
    assert child_pid(decoder) != first


def test_the_time_limit_is_for_a_picture_not_for_the_child(decoder: IsolatedDecoder):
    first = child_pid(decoder)
    time.sleep(0.7)
    assert child_pid(decoder) == first


def test_a_refusal_costs_no_child(decoder: IsolatedDecoder):
    first = child_pid(decoder)
    with pytest.raises(ImageError):
        decoder.decode(b"")
    assert child_pid(decoder) == first


@pytest.mark.slow
def test_memory_is_limited_for_real_decoding():
    """9,000 x 9,000 RGBA needs 324 MB and more; the child may have little beyond its start."""
    data = pictures.encode(Image.new("RGBA", (9_000, 9_000)), "PNG", compress_level=1)
    with (
        closing(IsolatedDecoder(24, 32, memory_bytes=600 << 20)) as isolated,
        pytest.raises(ImageError) as caught,
    ):
        isolated.decode(data)
    assert caught.value.code in (FailureCode.CRASHED, FailureCode.TOO_LARGE)


def test_what_a_decoder_prints_does_not_disturb_the_answers(decoder: IsolatedDecoder):
    with pytest.raises(ImageError) as caught:
        decoder.decode(b"print")
    assert caught.value.code == FailureCode.EMPTY


def test_a_child_killed_while_idle_costs_one_picture(decoder: IsolatedDecoder):
    os.kill(child_pid(decoder), signal.SIGKILL)
    with pytest.raises(ImageError, match="SIGKILL"):
        decoder.decode(pictures.png(900, 700))
    assert decoder.decode(pictures.png()).width == 64


def test_threads_share_a_decoder(decoder: IsolatedDecoder):
    with ThreadPoolExecutor(4) as pool:
        widths = list(pool.map(lambda n: decoder.decode(pictures.png(n, 5)).width, range(20, 60)))
    assert widths == list(range(20, 60))


def test_close_ends_the_child(decoder: IsolatedDecoder):
    pid = child_pid(decoder)
    decoder.close()
    assert not alive(pid)


@pytest.mark.parametrize("last", [b"pid", b"sleep"])
@pytest.mark.usefixtures("decoder")
def test_the_child_dies_with_its_parent(last: bytes):
    """Also when the parent is killed while the child decodes."""
    program = f"""
import os, threading, time
from linnaeus.isolation import IsolatedDecoder
class Fated(IsolatedDecoder):
    decode_function = "fated_decoder:decode"
decoder = Fated(24, 32, timeout_seconds=0.5)
decoder.decode(b"pid")
threading.Thread(target=decoder.decode, args=({last!r},), daemon=True).start()
time.sleep(0.1)
os.kill(os.getpid(), 9)
"""
    # The child has its parent's standard error, so this returns only once both have ended.
    parent = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL


def test_the_parents_main_is_not_imported(tmp_path: Path):
    script = tmp_path / "job.py"
    script.write_text(
        "print('main')\n"
        "from linnaeus.isolation import IsolatedDecoder\n"
        "decoder = IsolatedDecoder(8, 8)\n"
        f"decoder.decode({pictures.png()!r})\n"
        "decoder.close()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "main\n"
    assert not done.stderr


def test_a_child_that_cannot_start_is_a_configuration_error():
    class Absent(IsolatedDecoder):
        decode_function = "no_such_module:decode"

    with (
        closing(Absent(8, 8)) as isolated,
        pytest.raises(ConfigurationError, match="no decoding process could be started"),
    ):
        isolated.decode(pictures.png())
