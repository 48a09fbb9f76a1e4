"""What a workflow file may say: its sections and settings, with the defaults.

The `description` of each setting is what a new file's comments and the reference page say of it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Location = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A table of the file: no setting that is not named here, none changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Images(Section):
    """The images to label."""

    location: Location = Field(
        description="Folder, s3://, gs:// or az:// prefix, a manifest (CSV, JSONL, Parquet), "
        "or an S3 Inventory's manifest.json."
    )
    changes: Location | None = Field(
        None,
        description="File of changed keys (S3 events, JSON lines) to add to the last list of "
        "images instead of listing them.",
    )


class Labels(Section):
    """The images with labels that a model is trained on."""

    location: Location | None = Field(
        None,
        description="Folder of folders named by label, or a manifest with a label column; "
        "by default the images themselves.",
    )


class Backbone(Section):
    """The network that turns pixels into embeddings."""

    name: str = Field("efficientnet-lite0", description="A backbone, as `linnaeus embed` takes it.")
    precision: Literal["float32", "bfloat16", "int8"] = Field(
        "float32", description="Of its arithmetic; part of the fingerprint."
    )


class Model(Section):
    """The model that is trained, published and asked for labels."""

    name: Name = Field("labels", description="Its name in the workspace and on the server.")
    head: Literal["auto", "linear", "kernel", "layers"] = Field(
        "auto", description="Kind of head; auto keeps the best of several on validation images."
    )
    sweep: bool = Field(False, description="Try dozens of heads, not few.")
    fine_tune_layers: Annotated[int, Field(ge=1)] | Literal["all"] | None = Field(
        None, description="Train the backbone's last layers, too; wants a GPU."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: each label weighs the same."
    )
    seed: Count = Field(0, description="Of every random choice.")


class Retrain(Section):
    """When a new model is trained; without any model one is trained in any case."""

    when: Literal["labels-changed", "always", "never"] = Field(
        "labels-changed",
        description="labels-changed: when labelled images came, went or changed since the model "
        "was trained; never: only the first model is trained.",
    )
    changed_at_least: Annotated[int, Field(ge=1)] = Field(
        1, description="So many labelled images must have come, gone or changed."
    )
    after_days: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Train anew, too, when the model is so old."
    )


class Gates(Section):
    """What must hold, or the night ends with the old model and the old labels in place."""

    accuracy_at_least: Share | None = Field(
        None, description="Test accuracy below which a new model is not published."
    )
    accuracy_loss_at_most: Share | None = Field(
        0.02, description="How much less accurate than the current model a new one may be."
    )
    churn_at_most: Share | None = Field(
        0.2, description="Share of labelled images whose label may change in a night."
    )
    failures_at_most: Count | Share = Field(
        0.01,
        description="New failures a night: a whole number, or a share of the images to do, with a "
        "decimal point.",
    )
    skew: bool = Field(
        True, description="Whether a server must agree with the workers about the golden images."
    )


class Serving(Section):
    """The model server that is asked for labels."""

    server: str | None = Field(
        None,
        description="HOST:PORT of a TensorFlow Serving; by default the embedded server is started.",
    )
    payload: Literal["embedding", "pixels", "image"] = Field(
        "embedding", description="What is sent to it."
    )
    wait_minutes: Annotated[float, Field(ge=0)] = Field(
        15, description="How long a server may take to load a new version."
    )


class Output(Section):
    """Plain files of the labels, beside the tables."""

    location: Location | None = Field(None, description="Where they go; none by default.")
    format: Literal["parquet", "jsonl", "csv"] = Field("parquet", description="Of these files.")


class Schedule(Section):
    """What happens when the last run is still going on."""

    overlap: Literal["leave", "wait"] = Field(
        "leave", description="leave: end at once and say so; wait: until the other has ended."
    )
    wait_minutes: Annotated[float, Field(gt=0)] = Field(
        360, description="How long to wait at most."
    )


class Beam(Section):
    """Options of the Beam runner, as they would stand after `--`."""

    options: tuple[str, ...] = Field((), description="Of the embedding and the scoring job.")


class News(Section):
    """Who is told how a night ended. Addresses with a secret in them come from the environment."""

    when: Literal["always", "changes", "trouble"] = Field(
        "always", description="changes: when anything was done or went wrong."
    )
    webhook: str | None = Field(
        None, description="Where the summary is posted, as env:VARIABLE that holds the URL."
    )
    sns_topic: str | None = Field(None, description="ARN of an SNS topic.")


class Metrics(Section):
    """Where the numbers of a night go."""

    textfile: str | None = Field(
        None, description="File for the node exporter's textfile collector (Prometheus)."
    )
    pushgateway: str | None = Field(None, description="URL of a Prometheus Pushgateway.")
    otlp: str | None = Field(None, description="URL of an OpenTelemetry collector (OTLP, HTTP).")


class Prices(Section):
    """What things cost, for the plan's and the summary's figures; 0 leaves a cost out."""

    currency: str = Field("USD", description="Only a word beside the figures.")
    per_hour: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Of the machine that the night runs on."
    )
    per_gigabyte_read: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Of reading images over the network."
    )
    per_thousand_reads: Annotated[float, Field(ge=0)] = Field(
        0.0004, description="GET requests of the object store."
    )


class Workflow(Section):
    """One workflow file."""

    name: Name = Field("nightly", description="Of the workflow, in records, metrics and news.")
    workspace: Location = Field(
        description="Folder, s3://, gs:// or az:// root under which everything lies."
    )
    images: Images
    labels: Labels = Labels()
    backbone: Backbone = Backbone()
    model: Model = Model()
    retrain: Retrain = Retrain()
    gates: Gates = Gates()
    serving: Serving = Serving()
    output: Output = Output()
    schedule: Schedule = Schedule()
    beam: Beam = Beam()
    news: News = News()
    metrics: Metrics = Metrics()
    prices: Prices = Prices()

    @property
    def labelled_images(self) -> str:
        """The source that models are trained on."""
        return self.labels.location or self.images.location
