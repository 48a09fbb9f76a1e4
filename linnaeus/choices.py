"""The words that a user may choose, for the command line, Python and the workflow file alike."""

from typing import Literal

DEFAULT_BACKBONE = "efficientnet-lite0"
Precision = Literal["float32", "bfloat16", "int8"]
Payload = Literal["embedding", "pixels", "image"]
"""What a model server is sent."""
LabelFormat = Literal["parquet", "jsonl", "csv"]
"""Of plain files of labels."""
HeadKind = Literal["auto", "linear", "kernel", "layers"]
Balance = Literal["none", "balanced"]
"""How images are weighted by their labels."""
