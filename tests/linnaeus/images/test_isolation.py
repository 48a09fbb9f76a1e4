import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from linnaeus.errors import ConfigurationError, FailureCode, ImageError
from linnaeus.images import Limits, decode, isolation
from linnaeus.images.isolation import IsolatedDecoder
from tests import pictures

# A decoder whose fate is the picture's first bytes; in a file of its own, as a real one is.
DECODER = """
import os, time
import numpy as np
from linnaeus.images import decoding as images

def decode(data, height, width, limits):
    if data == b"abort":
        os.abort()
    if data == b"sleep":
        time.sleep(60)
    if data.startswith(b"kill"):
        with open(data[4:], "a") as times:
            times.write("x")
        if os.path.getsize(data[4:]) <= int(data[-1:]):
            os.kill(os.getpid(), 9)
        data = b"pid"
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
    if data == b"native":
        os.write(1, b"\\033]0;owned")
        os.write(2, b"\\033]0;owned")
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
    with closing(Fated(Limits(seconds=0.5))) as decoder:
        yield decoder


def child_pid(decoder: IsolatedDecoder) -> int:
    return decoder.decode(b"pid", 1, 1).width


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_pictures_come_out_as_in_the_process_itself():
    for data in pictures.every_format().values():
        want, got = decode(data, 24, 32), isolation.decode(data, 24, 32)
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
        decoder.decode(data, 24, 32)
    assert there.value.code == code
    assert str(there.value) == str(here.value)


def test_limits_reach_the_child():
    with (
        closing(IsolatedDecoder(Limits(image_bytes=10))) as isolated,
        pytest.raises(ImageError) as caught,
    ):
        isolated.decode(pictures.png(), 24, 32)
    assert caught.value.code == FailureCode.TOO_LARGE


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"abort", FailureCode.CRASHED, "SIGABRT"),
        (b"sleep", FailureCode.TOO_LARGE, "took more than 0.5 seconds: store it smaller"),
        (b"spin", FailureCode.TOO_LARGE, "took more than 0.5 seconds: store it smaller"),
        (b"fill", FailureCode.CRASHED, "status 1"),
        (b"bug", FailureCode.CRASHED, "status 1"),
    ],
)
def test_what_ends_the_child_is_refused_and_the_next_picture_gets_a_fresh_one(
    decoder: IsolatedDecoder, data: bytes, code: FailureCode, message: str
):
    first = child_pid(decoder)
    with pytest.raises(ImageError, match=message) as caught:
        decoder.decode(data, 24, 32)
    assert caught.value.code == code
    assert not alive(first)
    assert decoder.decode(pictures.png(), 24, 32).width == 64
    assert child_pid(decoder) != first


def test_the_time_limit_is_for_a_picture_not_for_the_child(decoder: IsolatedDecoder):
    first = child_pid(decoder)
    time.sleep(0.7)
    assert child_pid(decoder) == first


def test_a_refusal_costs_no_child(decoder: IsolatedDecoder):
    first = child_pid(decoder)
    with pytest.raises(ImageError):
        decoder.decode(b"", 24, 32)
    assert child_pid(decoder) == first


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pictures.blank_png(9_000, 9_000, 6), id="pixels"),
        pytest.param(pictures.huge_tile_tiff(24_000), id="a tile of 576 megapixels for 64 x 64"),
        pytest.param(pictures.webp_header(9_999, 9_999), id="a WebP's canvas"),
    ],
)
def test_memory_is_limited_for_real_decoding(data: bytes):
    """Each needs 324 MB and more; the child may have little beyond its start."""
    with (
        closing(IsolatedDecoder(Limits(memory_bytes=300 << 20))) as isolated,
        pytest.raises(ImageError) as caught,
    ):
        isolated.decode(data, 24, 32)
    assert caught.value.code.permanent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "bits"),
    [(0, 16), (3, 8), (6, 16)],
    ids=["grey of 16 bits", "palette", "alpha of 16 bits"],
)
def test_a_hundred_megapixels_take_no_more_memory_than_their_pixels_once(kind: int, bits: int):
    """Four bytes a pixel at most, however they are converted."""
    with closing(IsolatedDecoder(Limits(memory_bytes=640 << 20))) as isolated:
        picture = isolated.decode(pictures.blank_png(10_000, 10_000, kind, bits), 24, 32)
    assert (picture.width, picture.height) == (10_000, 10_000)


def test_a_picture_that_takes_long_is_too_large_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
):
    """A JPEG of some KB whose 20,000 scans say nothing: minutes, were it not for the limit."""
    monkeypatch.setattr(isolation, "IsolatedDecoder", partial(IsolatedDecoder, Limits(seconds=1)))
    monkeypatch.setattr(isolation, "_POOL", pool := isolation._Pool())
    slow = pictures.many_scans_jpeg(2_000, 2_000, 20_000)
    with ThreadPoolExecutor(1) as other, closing(pool):
        refused = other.submit(isolation.decode, slow, 24, 32)
        for number in range(20):
            assert isolation.decode(pictures.png(30 + number, 20), 24, 32).height == 20
        assert not refused.done()
        with pytest.raises(ImageError, match="took more than 1 seconds") as caught:
            refused.result()
    assert caught.value.code is FailureCode.TOO_LARGE


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("times", [1, 2])
def test_a_picture_whose_child_is_killed_from_outside_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
):
    monkeypatch.setattr(isolation, "IsolatedDecoder", Fated)
    monkeypatch.setattr(isolation, "_POOL", pool := isolation._Pool())
    data = b"kill" + str(tmp_path / str(times)).encode()
    with closing(pool):
        if times == 1:
            assert isolation.decode(data, 24, 32).format == "PID"
        else:
            with pytest.raises(ImageError, match="SIGKILL") as caught:
                isolation.decode(data, 24, 32)
            assert caught.value.code is FailureCode.CRASHED


def test_a_forked_process_has_children_of_its_own():
    program = """
import os
from linnaeus.images.isolation import decode
from tests import pictures
want = [decode(pictures.png(width, 5), 4, 4).width for width in (20, 30)]
pid = os.fork()
found = [decode(pictures.png(width, 5), 4, 4).width for width in [20, 30] * 20]
if pid == 0:
    os._exit(found != want * 20)
assert (found, os.waitpid(pid, 0)[1]) == (want * 20, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr


def test_what_a_decoder_prints_does_not_disturb_the_answers(decoder: IsolatedDecoder):
    with pytest.raises(ImageError) as caught:
        decoder.decode(b"print", 24, 32)
    assert caught.value.code == FailureCode.EMPTY


def test_what_a_native_library_writes_of_a_picture_reaches_no_terminal(
    decoder: IsolatedDecoder, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(ImageError):
        decoder.decode(b"native", 1, 1)
    with pytest.raises(ImageError):
        decoder.decode(b"bug", 1, 1)
    written = "".join(capfd.readouterr())
    assert "owned" not in written
    assert "not an image error" in written


def test_a_child_killed_while_idle_costs_no_picture(decoder: IsolatedDecoder):
    first = child_pid(decoder)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert decoder.decode(pictures.png(900, 700), 24, 32).width == 900


def test_threads_share_a_decoder(decoder: IsolatedDecoder):
    with ThreadPoolExecutor(4) as pool:
        widths = list(
            pool.map(lambda n: decoder.decode(pictures.png(n, 5), 24, 32).width, range(20, 60))
        )
    assert list(widths) == list(range(20, 60))


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
from linnaeus.images.isolation import IsolatedDecoder
class Fated(IsolatedDecoder):
    decode_function = "fated_decoder:decode"
from linnaeus.images import Limits
decoder = Fated(Limits(seconds=0.5))
decoder.decode(b"pid", 1, 1)
threading.Thread(target=decoder.decode, args=({last!r}, 1, 1), daemon=True).start()
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
    assert not parent.stderr


def test_the_parents_main_is_not_imported(tmp_path: Path):
    script = tmp_path / "job.py"
    script.write_text(
        "print('main')\n"
        "from linnaeus.images.isolation import IsolatedDecoder\n"
        "decoder = IsolatedDecoder()\n"
        f"decoder.decode({pictures.png()!r}, 8, 8)\n"
        "decoder.close()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "main\n"
    assert not done.stderr


def test_a_child_that_cannot_start_is_a_configuration_error():
    class Absent(IsolatedDecoder):
        decode_function = "no_such_module:decode"

    with (
        closing(Absent()) as isolated,
        pytest.raises(ConfigurationError, match="no decoding process could be started"),
    ):
        isolated.decode(pictures.png(), 8, 8)
