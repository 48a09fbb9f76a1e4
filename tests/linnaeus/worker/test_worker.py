import threading
import time
from concurrent.futures import ThreadPoolExecutor

from linnaeus.planning import RunSpec
from linnaeus.storage import Folder
from linnaeus.worker import Worker
from tests.buckets import BrightnessScorer


def test_threads_share_one_client(workspace: Folder):
    opened = []
    together = threading.Barrier(8)

    def open_scorer():
        time.sleep(0.05)
        opened.append(BrightnessScorer())
        return opened[-1]

    run = RunSpec("01RUN", "score", "/images", "m-1", "f00", "m", 1, "embedding")
    worker = Worker(workspace, run, open_scorer=open_scorer)

    def score(number):
        together.wait()
        return list(worker.score([(str(number), [0.9])]))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(score, range(8)))
    assert [answer[0][1].label for answer in answers] == ["bright"] * 8
    assert len(opened) == 1
