"""The page reference/backbones.md, made from the families of backbones.

python docs/backbones.py
"""

from pathlib import Path

from linnaeus.backbones import TENSORFLOW, Family, TrainableFamily, families

PAGE = Path(__file__).with_name("reference") / "backbones.md"
HEAD = """# Backbones

`--backbone` takes NETWORK, NETWORK@SIZE with the height and width of the input in pixels, and
either with `+mid` behind it, which adds pooled middle layers where the network has them. A backbone
is prepared once a workspace. Where its family brings TensorFlow's files, a SavedModel, those of the
other engines are made of them, and a model that is trained on it can be exported.

| network | licence of the weights | brings files of | models exported | fine-tuning |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(_row, families.every()))


def _row(family: type[Family]) -> str:
    names = [f"`{name}`" for name in family.networks]
    prefix = f"; `{family.prefix}` may stand before it" if family.prefix else ""
    weights = "; `?weights=FILE` names a file of them" if family.takes_weights else ""
    cells = (
        (", ".join(names) or family.others) + prefix,
        family.licence + weights,
        ", ".join(family.brings),
        "yes" if TENSORFLOW in family.brings else "no",
        "yes" if issubclass(family, TrainableFamily) else "no",
    )
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
