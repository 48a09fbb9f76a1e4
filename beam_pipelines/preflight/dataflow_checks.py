"""Checks of Dataflow: facts in, findings out."""

from collections.abc import Iterator

from beam_pipelines.preflight.facts import Facts, Finding

_DEPENDENCIES = ("requirements_file", "setup_file", "extra_packages")


def job_is_described(facts: Facts) -> Iterator[Finding]:
    """What Dataflow cannot guess."""
    options = facts.target.options
    named = {
        "project": options["project"],
        "region": options["region"] or facts.settings.get("CLOUDSDK_COMPUTE_REGION"),
        "temp_location": options["temp_location"] or options["staging_location"],
    }
    samples = {"project": "ID", "region": "europe-west1", "temp_location": "gs://BUCKET/temp"}
    for name, value in named.items():
        if not value:
            yield Finding(name, f"Dataflow is not told a {name}", f"--{name}={samples[name]}")
        elif name == "temp_location" and not value.startswith("gs://"):
            yield Finding(name, f"{value} is not on Google Cloud Storage", "--temp_location=gs://…")


def workers_have_linnaeus(facts: Facts) -> Iterator[Finding]:
    """Dataflow's own image has Beam alone."""
    options = facts.target.options
    if not options["sdk_container_image"] and not any(options.get(n) for n in _DEPENDENCIES):
        yield Finding(
            "worker_image",
            "workers would run Beam's own image, which has no linnaeus",
            "--sdk_container_image of the worker image (docs/how-to/dataflow.md)",
        )


def client_is_installed(facts: Facts) -> Iterator[Finding]:
    """Beam alone has no Google client."""
    if not facts.google_client:
        yield Finding(
            "google_client",
            "Google's client is not installed here",
            "pip install 'linnaeus[dataflow]'",
        )


def google_lets_in(facts: Facts) -> Iterator[Finding]:
    """A job is submitted in somebody's name."""
    if facts.google_problem:
        yield Finding(
            "google_credentials",
            f"no credentials for Google: {facts.google_problem}",
            "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS",
        )


def cards_are_asked_for_once(facts: Facts) -> Iterator[Finding]:
    """Right fitting and the service option exclude each other.

    https://cloud.google.com/dataflow/docs/guides/right-fitting
    """
    options = facts.target.options
    service = " ".join(options["dataflow_service_options"] or [])
    if (options["accelerator"] or options["min_ram"]) and "worker_accelerator" in service:
        yield Finding(
            "accelerator",
            "--accelerator and --min_ram exclude the service option worker_accelerator",
            "name the card by one of them: --accelerator for the machines that do shards",
        )


CHECKS = (
    job_is_described,
    workers_have_linnaeus,
    client_is_installed,
    google_lets_in,
    cards_are_asked_for_once,
)
