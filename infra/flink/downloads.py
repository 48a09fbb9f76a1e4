"""Flink and Beam's job server for it, fetched from package registries once a machine.

python -m infra.flink.downloads
"""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from beam_pipelines.runners import downloaded
from infra.fetching import fetch, run
from linnaeus.process import run_program

POM = Path(__file__).with_name("pom.xml")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
LIBRARIES = Path(__file__).with_name("libraries.txt")
DRIVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
LINE_BYTES = 72
"""Longest line of a jar's manifest, by the JAR file specification."""


def job_server() -> Path:
    """The jar of Beam's job server, fetched by Maven if it is not there.

    Raises:
        ConfigurationError: there is no Maven, or it cannot fetch.
    """
    jar = downloaded.flink_job_server()
    return fetch(jar.parent, _fetch_job_server) / jar.name


def libraries() -> Path:
    """The folder of Flink's jars, fetched from a package of Python's if it is not there."""
    folder = downloaded.flink_libraries()
    fetch(folder.parents[1], _fetch_libraries)
    return folder


def _fetch_job_server(folder: Path) -> None:
    settings = [f"-DoutputDirectory={folder / 'lib'}", "-DincludeScope=runtime"]
    command = ["mvn", "-q", "-B", "--strict-checksums", "-f", str(POM), COPY, *settings]
    run(command, "install Maven and a JDK, and a registry that has Beam's jars")
    final = downloaded.flink_job_server().parent
    jars = [final / "lib" / jar.name for jar in sorted((folder / "lib").glob("*.jar"))]
    with zipfile.ZipFile(folder / downloaded.flink_job_server().name, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", manifest(DRIVER, jars))


def manifest(main: str, jars: Sequence[Path]) -> str:
    """The manifest of a jar that starts `main` with other jars, in lines of at most 72 bytes."""
    lines = [
        "Manifest-Version: 1.0",
        f"Main-Class: {main}",
        f"Class-Path: {' '.join(jar.as_uri() for jar in jars)}",
    ]
    return "".join(f"{_folded(line)}\r\n" for line in [*lines, ""])


def _folded(line: str) -> str:
    """URLs are ASCII, so characters are bytes."""
    width = LINE_BYTES - 1
    rest = range(LINE_BYTES, len(line), width)
    return "\r\n ".join([line[:LINE_BYTES], *(line[start : start + width] for start in rest)])


def _fetch_libraries(folder: Path) -> None:
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
    install += ["--require-hashes", "--target", str(folder), "--requirement", str(LIBRARIES)]
    run(install, "see what the package registry says")


def main() -> None:
    """Fetch what is missing, and say where it lies."""
    print(job_server())
    print(libraries())


if __name__ == "__main__":
    run_program(main)
