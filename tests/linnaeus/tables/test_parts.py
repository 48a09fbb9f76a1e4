import pyarrow as pa
import pytest

from linnaeus.storage import Folder
from linnaeus.tables import parts


@pytest.mark.parametrize("value_bytes", [1, 1_000, 100_000])
def test_the_footer_is_found_by_the_size_alone(workspace, value_bytes):
    rows = pa.table({"sha256": [f"{n:064x}" for n in range(500)]})
    said = {"receipt": "r" * value_bytes}
    part = parts.write(workspace, "t/0.parquet", rows, said)
    found = parts.read_metadata(workspace, part.key, part.size_bytes)
    assert found == parts.read_metadata(workspace, part.key)
    assert found["receipt"] == said["receipt"]


def test_a_known_size_makes_one_request_of_a_receipt(workspace, monkeypatch):
    part = parts.write(workspace, "t/0.parquet", pa.table({"a": [1]}), {"receipt": "r"})
    requests = []
    read_range = Folder.read_range
    monkeypatch.setattr(
        Folder, "read_range", lambda *request: requests.append(request) or read_range(*request)
    )
    monkeypatch.setattr(Folder, "open", lambda *request: pytest.fail("asked for the size"))
    parts.read_metadata(workspace, part.key, part.size_bytes)
    assert len(requests) == 1
