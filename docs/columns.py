"""The tables of reference/tables.md, made from the schemas of `linnaeus.records`.

python docs/columns.py    # names and types are the source's; what a column means is the page's
"""

import re
from pathlib import Path

from linnaeus import records

PAGE = Path(__file__).with_name("reference") / "tables.md"
_TABLE = re.compile(r"<!-- columns: (\w+) -->\n(?:\|.*\n)*")
_ROW = re.compile(r"^\| `(\w+)` \| .+? \|(.*)\|$", re.MULTILINE)


def with_columns(page: str) -> str:
    """A page in which each table has the columns of the schema that its mark names."""
    return _TABLE.sub(lambda table: _columns(table[1], dict(_ROW.findall(table[0]))), page)


def _columns(name: str, meanings: dict[str, str]) -> str:
    head = f"<!-- columns: {name} -->\n| column | type | meaning |\n| --- | --- | --- |\n"
    columns = [(f.name, f.type, meanings.get(f.name, " ")) for f in getattr(records, name)]
    return head + "".join(f"| `{name}` | {kind} |{meaning}|\n" for name, kind, meaning in columns)


if __name__ == "__main__":
    PAGE.write_text(with_columns(PAGE.read_text("utf-8")), "utf-8")
