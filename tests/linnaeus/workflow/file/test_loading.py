"""Workflow files, right ones and those with every kind of mistake."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.file.loading import read_workflow
from linnaeus.workflow.file.settings import all_settings, toml_value
from linnaeus.workflow.file.toml_lines import lines_of

RIGHT = 'workspace = "w"\n[images]\nlocation = "photos"\n'


def read(folder: Path, text: str | bytes) -> Workflow:
    path = folder / "nightly.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_workflow(path)


def complaint(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as raised:
        read(folder, text)
    said = str(raised.value)
    assert "\n" not in said
    return said.removeprefix(f"{folder}/")


def test_the_smallest_file(tmp_path):
    workflow = read(tmp_path, RIGHT)
    assert workflow.gates.churn_at_most == 0.2
    assert workflow.labelled_images == workflow.images.location == f"{tmp_path}/photos"


def test_relative_places_are_counted_from_the_files_folder(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    text = """
        workspace = "../w"
        images = { location = "photos/" }
        labels.location = "~/labelled"
        backbone.name = "./saved@8"
        output.location = "gs://bucket/labels"
        metrics.textfile = "linnaeus.prom"
    """
    workflow = read(tmp_path, text)
    assert workflow.workspace == f"{tmp_path.parent}/w"
    assert workflow.images.location == f"{tmp_path}/photos/"  # the slash says: a folder
    assert workflow.labels.location == "~/labelled"
    assert workflow.backbone.name == f"{tmp_path}/saved@8"
    assert workflow.output.location == "gs://bucket/labels"
    assert workflow.metrics.textfile == f"{tmp_path}/linnaeus.prom"


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [("1", 1, int), ("1.0", 1.0, float), ("0", 0, int), ("0.0", 0, float)],
)
def test_a_decimal_point_makes_a_share_of_failures(tmp_path, text, value, kind):
    found = read(tmp_path, f"{RIGHT}[gates]\nfailures_at_most = {text}\n").gates.failures_at_most
    assert found == value
    assert type(found) is kind


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbf" + RIGHT.replace("\n", "\r\n").encode()).name == "nightly"
    assert complaint(tmp_path, RIGHT.replace("\n", "\r\n") + "a = 1").startswith("nightly.toml:4:")


def with_line(section: str, line: str) -> tuple[str, int]:
    """A file with this line in a section, and the line's number."""
    if not section:
        return f"# first\n{line}\n{RIGHT}", 2
    if section == "images":
        return f"{RIGHT}{line}\n", 4
    return f"{RIGHT}\n[{section}]\n{line}\n", 6


VALUES = [
    ("gates", "churn_at_most = 1.5", "gates.churn_at_most = 1.5: it takes a number from 0 to 1"),
    ("gates", "churn_at_most = 20", "from 0 to 1; 20 % is 0.2"),
    ("gates", "churn_at_most = true", "= true: it takes a number"),
    ("gates", "churn_at_most = nan", "it takes a number"),
    ("gates", "accuracy_at_least = -0.1", "a number from 0 to 1"),
    (
        "gates",
        'accuracy_at_least = "0.9"',
        '= "0.9": it takes a number from 0 to 1, without quotes',
    ),
    ("gates", "failures_at_most = 5.0", "a whole number, 0 or more, or a number from 0 to 1; 5 %"),
    ("gates", "failures_at_most = -1", "a whole number, 0 or more"),
    ("gates", 'skew = "no"', 'gates.skew = "no": it takes true or false, without quotes'),
    ("gates", "skew = 1", "gates.skew = 1: it takes true or false"),
    ("model", "seed = 1.0", "model.seed = 1.0: it takes a whole number from 0"),
    ("model", "seed = 99999999999999999999", "a whole number from 0 to 2,147,483,647"),
    ("model", "fine_tune_layers = 0", 'a whole number, 1 or more, or "all"'),
    ("model", 'fine_tune_layers = "al"', 'did you mean "all"?'),
    ("model", 'head = "liner"', 'model.head = "liner": did you mean "linear"? It takes "auto", '),
    ("model", 'head = "x"', '"x": it takes "auto", "linear", "kernel" or "layers"'),
    ("model", "head = 1", 'it takes "auto", "linear", "kernel" or "layers", in quotes'),
    ("model", "name = 7", "model.name = 7: it takes a name, in quotes"),
    ("model", 'name = "a b"', "model.name: use letters, digits"),
    ("model", 'name = ""', "model.name: use letters, digits"),
    ("", 'name = "../x"', "name: use letters, digits"),
    ("", "name = 1979-05-27", "name = 1979-05-27: it takes a name"),
    ("backbone", 'name = "efficientnet-lite9"', "did you mean efficientnet-lite"),
    ("backbone", 'name = "vgg16?weights=a.h5"', "by an absolute path"),
    ("backbone", 'precision = "float16"', 'did you mean "bfloat16"?'),
    ("retrain", 'when = "Always"', 'did you mean "always"?'),
    ("retrain", "after_days = 0", "a number above 0, 36,500 at most"),
    ("retrain", "after_days = inf", "a number above 0"),
    ("labels", 'location = "ftp://x/y"', "labels.location: cannot read ftp://; use a folder"),
    ("labels", 'location = ""', "labels.location: an empty name"),
    ("labels", 'location = "s3://"', "the bucket is missing"),
    ("labels", "location = []", "labels.location = a list: it takes a path or a URI"),
    ("labels", "location = {a = 1}", "labels.location = a table: it takes a path or a URI"),
    ("serving", 'server = "localhost"', "serving.server: the server's port is missing"),
    ("serving", 'server = "localhost:0"', "0 is no port"),
    ("serving", 'server = "h:70000"', "70000 is no port"),
    ("serving", 'server = "http://h:8501"', "a model server is asked by gRPC"),
    ("serving", 'server = ""', "port is missing"),
    ("output", 'location = "photos/labels"', "output.location lies inside images.location"),
    ("output", 'location = "w/"', "output.location lies inside the workspace"),
    ("output", 'location = "w/labels"', "output.location lies inside the workspace"),
    ("beam", 'options = "--runner=X"', "it takes a list of texts, in square brackets"),
    ("beam", 'options = ["photos"]', "beam.options: an option begins with --"),
    ("beam", "options = [1]", "beam.options[0] = 1: it takes a list of texts"),
    ("notifications", 'webhook = "WEBHOOK"', "write env:VARIABLE"),
    ("notifications", 'webhook = "env:A B"', "write env:VARIABLE"),
    ("notifications", 'sns_topic = "alarms"', "write the topic's ARN"),
    ("metrics", 'textfile = "linnaeus.txt"', "files that end in .prom"),
    ("metrics", 'textfile = "s3://b/x.prom"', "name a file of the machine"),
    ("metrics", 'textfile = ""', "metrics.textfile: an empty name"),
    ("labels", 'location = "a\\u0000b"', "labels.location: no place has the character"),
    ("output", 'location = "s3://b/\\u0000"', "output.location: no place has the character"),
    ("metrics", 'pushgateway = "gateway:9091"', "write a URL"),
    ("metrics", 'otlp = "http://:1"', "write a URL"),
    ("metrics", 'otlp = "http://[1"', "write a URL"),
    ("prices", "per_hour = -1", "prices.per_hour = -1: it takes a number, 0 or more"),
    ("schedule", "overlap = 3", '"leave" or "wait", in quotes'),
]
UNKNOWN = [
    ("gates", "churn_at_mots = 1", "there is no churn_at_mots in [gates]: did you mean churn_at"),
    ("gates", "Churn-At-Most = 1", "did you mean churn_at_most?"),
    ("gates", "location = 1", "it belongs in [images], [labels] or [output]"),
    ("gates", "wait_minutes = 1", "it belongs in [serving] or [schedule]"),
    (
        "images",
        'workspace = "w2"',
        "no workspace in [images]: it belongs above the first [section]",
    ),
    ("gates", 'name = "x"', "it belongs above the first [section] or in [backbone] or [model]"),
    ("gates", "presicion = 1", "did you mean precision, which belongs in [backbone]?"),
    ("output", "zzz = 1", "there is no zzz in [output]: there are location, format"),
    ("", "server = 1", "there is no server above the first section: it belongs in [serving]"),
    ("", 'workspaces = ""', "did you mean workspace?"),
    ("", "image = 1", "did you mean [images]?"),
    ("", "gates = 1", "gates is a section: write [gates], and its settings below it"),
    ("", '"a\\nb" = 1', 'there is no "a\\nb" above the first section: there are name, workspace'),
    (
        "notifications",
        'password = "x"',
        "there is no password in [notifications]: secrets stay out of this file",
    ),
    ("", 'secret_access_key = "x"', "secrets stay out of this file"),
]
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SECRETS = [
    (
        "notifications",
        'webhook = "https://hooks.slack.com/services/T0/B0/x"',
        "write env:VARIABLE as notifications",
    ),
    ("notifications", 'webhook = "https://example.org/hook"', "write env:VARIABLE"),
    ("labels", 'location = "AKIAIOSFODNN7EXAMPLE"', "looks like an AWS access key id"),
    ("labels", f'location = "{SECRET}"', "labels.location looks like an AWS secret access key"),
    ("beam", f'options = ["--a", "--b={SECRET}"]', "beam.options[1] looks like an AWS secret"),
    (
        "beam",
        'options = ["--s3_secret_access_key=x"]',
        "beam.options[0] looks like a secret option",
    ),
    ("metrics", 'pushgateway = "http://me:pass@h:1"', "an address with a user or a password"),
    ("metrics", 'otlp = "https://token@h:1"', "an address with a user or a password"),
    ("metrics", 'otlp = "https://h:1/?access_token=abc"', "an address with a token or a signature"),
    ("labels", 'location = "https://a/b?x=1&X-Amz-Signature=12"', "with a token or a signature"),
    ("labels", 'location = "https://a/b?sv=1&sig=12"', "with a token or a signature"),
    ("beam", 'options = ["--api_key=0secret"]', "beam.options[0] looks like a secret option"),
    ("labels", 'location = "https://x.webhook.office.com/0secret"', "looks like a webhook's"),
    ("prices", f'currency = "AIza{"0secret" * 5}"', "looks like a secret"),
    ("prices", 'currency = "glpat-0secret"', "looks like a secret"),
    ("prices", 'currency = "ghp_abcdefghijklmnopqrstuvwxyz0123"', "looks like a secret"),
]


@pytest.mark.parametrize(("section", "line", "said"), [*VALUES, *UNKNOWN, *SECRETS])
def test_a_wrong_line_is_named_with_its_number_and_a_remedy(tmp_path, section, line, said):
    text, number = with_line(section, line)
    found = complaint(tmp_path, text)
    assert found.startswith(f"nightly.toml:{number}: ")
    assert said in found
    assert "more)" not in found


@pytest.mark.parametrize(("section", "line", "said"), SECRETS)
def test_secrets_are_not_repeated(tmp_path, section, line, said):
    del said
    found = complaint(tmp_path, with_line(section, line)[0])
    for word in (
        "hooks.slack",
        "AKIA",
        SECRET,
        "pass@",
        "token@",
        "=abc",
        "=12",
        "ghp_",
        "0secret",
    ):
        assert word not in found


DOCUMENTS = [
    (
        RIGHT + "[notifications]\nwhen = always\n",
        5,
        "no TOML, invalid value: a text stands in quotes",
    ),
    (RIGHT + "[gates]\nskew = True\n", 5, "true and false are written small"),
    (RIGHT + "[gates\nskew = true\n", 4, "the closing ] of the section is missing"),
    (RIGHT + "[gates]\nskew true\n", 5, "write key = value"),
    (RIGHT + "[gates]\nskew: true\n", 5, "write key = value"),
    (RIGHT + '[labels]\nlocation = "x\n[gates]\n', 5, "the closing quote is missing"),
    (RIGHT + '[labels]\nlocation = """x\n[gates]\n', 6, "the closing quotes are missing"),
    (RIGHT + '[labels]\nlocation = "C:\\photos"\n', 5, "in single quotes"),
    (RIGHT + "[gates]\nskew = true churn_at_most = 1\n", 5, "one key = value a line"),
    (RIGHT + '[beam]\noptions = ["--a"\n\n', 5, "the closing ] or a comma is missing"),
    (RIGHT + "[gates]\nskew = true\n\nskew = true\n", 7, "gates.skew stands in line 5 already"),
    (RIGHT + "[gates]\n[images]\n", 5, "images stands in line 2 already"),
    (RIGHT + "[gates]\n[images]\nx = = 1", 5, "images stands in line 2 already"),
    (f"images.changes = 'x'\n{RIGHT}", 3, "set before, in another way of writing it"),
    (RIGHT + "[prices]\nper_hour = {a = 1,\n", 5, "no TOML"),
    ("workspace = 'w'\nimages = {location = 'a', location = 'b'}", 2, "stands in line 2 already"),
    ("workspace = 'w'\n", 1, "images.location is missing: write [images] and below it location"),
    ("workspace = 'w'\n\n[images]\nchanges = 'x'\n", 3, "images.location is missing"),
    ("[images]\nlocation = 'x'\n", 1, 'workspace is missing: write workspace = "s3://'),
    ("workspace = 'w'\nimages = 's3://b'\n", 2, "images is a section: write [images]"),
    ("workspace = 'w'\n\n[[images]]\nlocation = 'x'\n", 3, "in single brackets"),
    ("workspace = 'w'\nimages.location = 'w'\n", 1, "workspace is the images' own folder"),
    (RIGHT + "[retrain]\nafter_days = 3\nwhen = 'never'", 5, "no effect with when"),
    (
        RIGHT + '[beam]\noptions = [ # "]\n  "--a",\n\n  """--b\n""",\n 1]',
        10,
        "beam.options[2] = 1",
    ),
    (RIGHT + 'gates = {skew = true, "churn_at_most" = "a"}\n', 4, "there is no gates in [images]"),
    ("a = '''\n\n'''\n" + RIGHT, 1, "there is no a above"),
    (RIGHT + "[gates]\nskew = 1\nchurn_at_most = 2\n[zzz]\n", 5, "true or false (and 2 more)"),
    (RIGHT + "\n[zzz]\na = 1\nb = 2\n", 5, "there is no zzz above the first section: there are "),
    (RIGHT + "[gates]\naccuracy_at_least = 0.9\n[gate.x]\n", 6, "did you mean [gates]?"),
    (RIGHT.encode() + b"# caf\xe9\n", 4, "not UTF-8: save the file with that encoding"),
    (RIGHT.encode("utf-16"), 1, "not UTF-8"),
    ("", 1, "the file is empty: `linnaeus init --force "),
    (" \n\n", 1, "the file is empty"),
    (RIGHT + "[model]\nseed = " + "9" * 5000, 1, "no TOML: "),
    (RIGHT + "[prices]\nper_hour = " + "9" * 400, 5, "it takes a number, 0 or more"),
    ("a = " + "[" * 5000 + "]" * 5000, 1, "nested too deeply"),
    ("a = \x00", 1, "no TOML"),
]


@pytest.mark.parametrize(("text", "line", "said"), DOCUMENTS)
def test_a_wrong_document_is_named_with_the_line(tmp_path, text, line, said):
    found = complaint(tmp_path, text)
    assert found.startswith(f"nightly.toml:{line}: ")
    assert said in found


def test_a_file_that_is_not_there_a_folder_and_one_that_may_not_be_read(tmp_path):
    with pytest.raises(ConfigurationError, match=r"x\.toml: there is no such file; `linnaeus init"):
        read_workflow(tmp_path / "x.toml")
    with pytest.raises(ConfigurationError, match=": a folder; name the workflow file in it"):
        read_workflow(tmp_path)
    with pytest.raises(ConfigurationError, match="not a directory"):
        (tmp_path / "file").touch()
        read_workflow(tmp_path / "file" / "x.toml")


def test_a_home_of_nobody_is_a_folder_like_any_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    textfile = read(
        tmp_path, f"{RIGHT}[metrics]\ntextfile = '~no-one-here/x.prom'"
    ).metrics.textfile
    assert textfile == f"{tmp_path}/~no-one-here/x.prom"
    backbone = read(tmp_path, f"{RIGHT}[backbone]\nname = '~no-one-here/saved@8'").backbone
    assert backbone.name == "~no-one-here/saved@8"
    with pytest.raises(ConfigurationError, match=r"~no-one-here/x\.toml: there is no such file"):
        read_workflow("~no-one-here/x.toml")


def test_addresses_without_a_secret_are_taken(tmp_path):
    metrics = '[metrics]\npushgateway = "http://gateway:9091/a?b=1"\notlp = "https://h/v1"\n'
    topic = "arn:aws:sns:eu-west-1:123456789012:a"
    receivers = f'[notifications]\nwebhook = "env:HOOK"\nsns_topic = "{topic}"\n'
    place = f"s3://bucket/{'a1b2' * 10}/Photos2024CameraRollBackupFolderFromMyNo/user@host?key"
    assert read(
        tmp_path, f"{RIGHT}[labels]\nlocation = '{place}'\n{metrics}{receivers}"
    ).notifications.webhook


@pytest.mark.slow
def test_a_file_in_a_bucket_is_read_and_its_paths_lie_beside_it(s3):
    bucket = Folder(s3.bucket())
    bucket.write("conf/nightly.toml", f"{RIGHT}[labels]\nlocation = '/labelled'\n".encode())
    bucket.write("conf/climbing.toml", b"workspace = '../w'\nimages.location = 's3://b/x'")
    workflow = read_workflow(bucket.uri_of("conf/nightly.toml"))
    assert workflow.images.location == f"{bucket.uri}/conf/photos"
    assert workflow.labels.location == "/labelled"
    with pytest.raises(ConfigurationError, match=r"climbing\.toml:1: workspace: a path with \.\."):
        read_workflow(bucket.uri_of("conf/climbing.toml"))
    for none in (bucket.uri_of("conf/none.toml"), "s3://there-is-no-such-bucket-here/x.toml"):
        with pytest.raises(ConfigurationError, match=r"no file s3:.*, or no such bucket"):
            read_workflow(none)


@pytest.mark.parametrize("setting", all_settings(), ids=lambda one: one.path)
def test_every_setting_may_be_written_with_what_is_shown_of_it(tmp_path, setting):
    if setting.path in {"workspace", "images.location"}:
        return
    line = f"{setting.name} = {toml_value(setting.shown)}"
    workflow = read(tmp_path, with_line(setting.section, line)[0])
    section = getattr(workflow, setting.section) if setting.section else workflow
    found = getattr(section, setting.name)
    assert (list(found) if isinstance(found, tuple) else found) == setting.shown


ODD = ['"x"', '""', "7", "-7", "1.5", "1e999", "true", "[]", "[[1]]", "{}", "{a = [1]}", "07:32:00"]


@pytest.mark.parametrize("setting", all_settings(), ids=lambda one: one.path)
def test_odd_values_are_taken_or_refused_in_their_line(tmp_path, setting):
    for value in ODD:
        text = f"workspace = 'w'\n{setting.path} = {value}\n"
        text += "" if setting.path == "images.location" else "images.location = 'photos'\n"
        if setting.path == "workspace":
            text = f"\nworkspace = {value}\nimages.location = 'photos'\n"
        try:
            read(tmp_path, text)
        except ConfigurationError as error:
            assert f"nightly.toml:2: {setting.path}" in str(error)


# Where keys are: documents whose every line is known, because they are written line by line.

BARE = st.text("abcXYZ019_-", min_size=1, max_size=4)
KEYS = st.one_of(BARE, st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4))
PLAIN = st.sampled_from(["1", "-2.5e3", "true", "nan", "1979-05-27 07:32:00Z", "0xff"])
STRINGS = st.sampled_from(
    [
        '"a#b"',
        "'c\\'",
        '"\\"]"',
        '"""x\n#y = 1\n\\""""""',
        "'''\n[z]\n''''",
        '""""""',
        "''''''",
        '""',
    ]
)
COMMENTS = st.sampled_from(["", " # note", ' # "x = [', "\t"])


def written_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


class Writer:
    """A document that grows, with the line of each path that it writes."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[tuple[str | int, ...], int] = {}

    def note(self, path: tuple[str | int, ...]) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self.text.count("\n") + 1)

    def pairs(self, path, depth: int, end: str) -> None:
        keys = self.draw(st.lists(KEYS, unique=True, max_size=3))
        for number, key in enumerate(keys):
            if end == "," and number:
                self.text += ", "
            inner = (*path, key, *(self.draw(st.lists(KEYS, max_size=1)) if end else []))
            self.note(inner)
            self.text += " . ".join(map(written_key, inner[len(path) :])) + " = "
            self.value(inner, depth, one_line=end == ",")
            if end == "\n":
                self.text += self.draw(COMMENTS) + self.draw(st.sampled_from(["\n", "\n\n#\n"]))

    def value(self, path, depth: int, *, one_line: bool) -> None:
        kind = self.draw(st.sampled_from(["plain", "string", "array", "table"]))
        if kind == "array" and depth:
            self.array(path, depth - 1)
        elif kind == "table" and depth:
            self.text += "{ "
            self.pairs(path, depth - 1, ",")
            self.text += " }"
        else:
            self.text += self.draw(PLAIN if kind == "plain" else STRINGS)

    def array(self, path, depth: int) -> None:
        blank = st.sampled_from(["", " ", "\n", " # ],\n", "\n\n\t"])
        self.text += "[" + self.draw(blank)
        for number in range(self.draw(st.integers(0, 3))):
            if number:
                self.text += "," + self.draw(blank)
            self.note((*path, number))
            self.value((*path, number), depth, one_line=False)
            self.text += self.draw(blank)
        self.text += "]"


@st.composite
def documents(draw):
    writer = Writer(draw)
    writer.pairs((), 2, "\n")
    taken = {path[0] for path in writer.lines}
    for header in draw(st.lists(KEYS, unique=True, max_size=3)):
        if header in taken:
            continue
        for number in range(draw(st.integers(0, 2)) + 1):
            several = number or draw(st.booleans())
            path = (header, number) if several else (header,)
            writer.note(path)
            name = written_key(header)
            writer.text += f"[[ {name} ]]\n" if several else f"[{name}]\n"
            writer.pairs(path, 2, "\n")
            if not several:
                break
    return writer.text, writer.lines


def paths_of(value, path=()):
    if path:
        yield path
    items = enumerate(value) if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else items:
        yield from paths_of(inner, (*path, key))


@settings(max_examples=100, deadline=None)
@given(documents())
def test_every_key_of_a_document_has_its_line(document):
    text, lines = document
    assert lines_of(text) == lines
    assert set(paths_of(tomllib.loads(text))) == set(lines)
