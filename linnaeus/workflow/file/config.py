"""What a workflow file may say: its sections and settings, with the defaults.

The `description` of each setting is what a new file's comments and the reference page say of it,
`examples` what they show where there is no default. Values are taken as they are written: `"5"` is
no number, and `1.0` no whole one. What concerns one setting is checked where its kind is made,
in `linnaeus.workflow.file.setting_types`; what concerns several, by the section here.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from linnaeus.choices import DEFAULT_BACKBONE, Balance, HeadKind, LabelFormat, Payload, Precision
from linnaeus.storage import normalise, outer_of
from linnaeus.workflow.file.setting_types import (
    Address,
    BackboneName,
    Count,
    Days,
    LocalFile,
    Location,
    Minutes,
    Name,
    Options,
    Price,
    Seed,
    Share,
    TopicArn,
    Url,
    WebhookVariable,
)


class Section(BaseModel):
    """A table of the file: no setting that is not named here, none changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def refused(keys: Sequence[str], message: str) -> PydanticCustomError:
    """What is wrong with several settings together; the keys say which one to name the line of."""
    return PydanticCustomError("together", "{message}", {"message": message, "keys": list(keys)})


class Images(Section):
    """The images to label."""

    location: Location = Field(
        description="Folder, s3://, gs:// or az:// prefix, a manifest (CSV, JSONL, Parquet), "
        "or an S3 Inventory's manifest.json.",
        examples=["s3://bucket/photos"],
    )
    changes: Location | None = Field(
        None,
        description="File of changed keys (S3 events, JSON lines) to add to the last list of "
        "images instead of listing them.",
        examples=["s3://bucket/changed-keys.jsonl"],
    )


class Labels(Section):
    """The images with labels that a model is trained on."""

    location: Location | None = Field(
        None,
        description="Folder of folders named by label, or a manifest with a label column; "
        "by default the images themselves.",
        examples=["s3://bucket/labelled-photos"],
    )


class Backbone(Section):
    """The network that turns pixels into embeddings."""

    name: BackboneName = Field(
        DEFAULT_BACKBONE, description="Its name, as `linnaeus embed --backbone` takes it."
    )
    precision: Precision = Field(
        "float32",
        description="Arithmetic that it is computed in; another one gives other embeddings.",
    )


class Model(Section):
    """The model that is trained, published and asked for labels."""

    name: Name = Field("labels", description="Its name in the workspace and on the server.")
    head: HeadKind = Field(
        "auto", description="Kind of head; auto keeps the best of several on validation images."
    )
    sweep: bool = Field(False, description="Whether dozens of heads are tried, not few.")
    fine_tune_layers: Annotated[int, Field(ge=1)] | Literal["all"] | None = Field(
        None,
        description="How many of the backbone's last layers are trained, too; wants a GPU.",
        examples=[2],
    )
    class_weights: Balance = Field(
        "none", description="With balanced, rare labels weigh as much as frequent ones."
    )
    seed: Seed = Field(0, description="Seed of every random choice.")


class Retrain(Section):
    """When a new model is trained; without any model one is trained in any case."""

    when: Literal["labels-changed", "always", "never"] = Field(
        "labels-changed",
        description="With labels-changed, when labelled images came, went or changed since the "
        "model was trained, or this file asks for other settings; with never, only the first model "
        "is trained.",
    )
    changed_at_least: Annotated[int, Field(ge=1)] = Field(
        1, description="How many labelled images must have come, gone or changed."
    )
    after_days: Days | None = Field(
        None, description="Age of the model at which one is trained in any case.", examples=[30]
    )

    @model_validator(mode="after")
    def _age_counts(self) -> "Retrain":
        if self.when == "never" and self.after_days is not None:
            raise refused(
                ["after_days"],
                'has no effect with when = "never": take it out, or write when = "labels-changed"',
            )
        return self


class Gates(Section):
    """What must hold, or the workflow run ends with the old model and the old labels in place."""

    accuracy_at_least: Share | None = Field(
        None,
        description="Test accuracy below which a new model is not published.",
        examples=[0.9],
    )
    accuracy_loss_at_most: Share | None = Field(
        0.02,
        description="How much less accurate than the current model a new one may be; 1 switches "
        "this gate off.",
    )
    churn_at_most: Share | None = Field(
        0.2,
        description="Share of labelled images whose label may change in a workflow run; 1 switches "
        "this gate off.",
    )
    failures_at_most: Count | Share = Field(
        0.01,
        description="New failures a workflow run: a whole number, or a share of the images to do, "
        "with a decimal point.",
    )
    skew: bool = Field(
        True, description="Whether a server must agree with the workers about the golden images."
    )


class Serving(Section):
    """The model server that is asked for labels."""

    server: Address | None = Field(
        None,
        description="HOST:PORT of a TensorFlow Serving (grpcs://HOST:PORT by TLS); by default the "
        "embedded server is started.",
        examples=["models.internal:8500"],
    )
    payload: Payload = Field("embedding", description="What is sent to it.")
    wait_minutes: Minutes = Field(
        15, description="How long a server may take to load a new version."
    )


class Output(Section):
    """Plain files of the labels, beside the tables."""

    location: Location | None = Field(
        None,
        description="Folder or prefix for them; none are written by default.",
        examples=["s3://bucket/labels"],
    )
    format: LabelFormat = Field("parquet", description="Their format.")


class Schedule(Section):
    """What happens when the last run is still going on."""

    overlap: Literal["leave", "wait"] = Field(
        "leave",
        description="With leave, this one ends at once and says so; with wait, it begins when the "
        "other has ended.",
    )
    wait_minutes: Minutes = Field(360, description="How long it waits at most.")


class Beam(Section):
    """Options of the Beam runner, as they would stand after `--`."""

    options: Options = Field(
        (),
        description="They count for the embedding and the scoring job.",
        examples=[["--direct_num_workers=4"]],
    )


class Notifications(Section):
    """Who is told how a run ended. Addresses with a secret in them come from the environment."""

    when: Literal["always", "changes", "trouble"] = Field(
        "always",
        description="With changes, when anything was done or went wrong; with trouble, when it "
        "went wrong.",
    )
    webhook: WebhookVariable | None = Field(
        None,
        description="Where the summary is posted, as env:VARIABLE that holds the URL.",
        examples=["env:LINNAEUS_WEBHOOK"],
    )
    sns_topic: TopicArn | None = Field(
        None,
        description="ARN of an SNS topic.",
        examples=["arn:aws:sns:eu-west-1:123456789012:linnaeus"],
    )


class Metrics(Section):
    """Where the numbers of a workflow run go."""

    textfile: LocalFile | None = Field(
        None,
        description="File for the node exporter's textfile collector (Prometheus); ends in .prom.",
        examples=["/var/lib/node_exporter/linnaeus.prom"],
    )
    pushgateway: Url | None = Field(
        None,
        description="URL of a Prometheus Pushgateway.",
        examples=["http://pushgateway.internal:9091"],
    )
    otlp: Url | None = Field(
        None,
        description="URL of an OpenTelemetry collector (OTLP, HTTP).",
        examples=["http://collector.internal:4318"],
    )


class Prices(Section):
    """What things cost, for the plan's and the summary's figures; 0 leaves a cost out."""

    currency: str = Field("USD", description="A word beside the figures.")
    per_hour: Price = Field(0.0, description="Price of the machine that runs it.")
    per_gigabyte_read: Price = Field(0.0, description="Price of reading images over the network.")
    per_thousand_reads: Price = Field(
        0.0004, description="Price of GET requests to the object store."
    )

    @property
    def named(self) -> bool:
        """Whether anything has a price."""
        return bool(self.per_hour or self.per_gigabyte_read or self.per_thousand_reads)


class Workflow(Section):
    """One workflow file."""

    name: Name = Field(
        "nightly", description="Name of the workflow in records, metrics and summaries."
    )
    workspace: Location = Field(
        description="Folder, s3://, gs:// or az:// root under which everything lies.",
        examples=["s3://bucket/linnaeus"],
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
    notifications: Notifications = Notifications()
    metrics: Metrics = Metrics()
    prices: Prices = Prices()

    @property
    def labelled_images(self) -> str:
        """The source that models are trained on."""
        return self.labels.location or self.images.location

    @model_validator(mode="after")
    def _places_apart(self) -> "Workflow":
        images, labels = self.images.location, self.labels.location
        if normalise(self.workspace) in (normalise(images), normalise(self.labelled_images)):
            raise refused(
                ["workspace"], "is the images' own folder: give the workspace one of its own"
            )
        sources = {"images.location": images, "labels.location": labels}
        others = {**sources, "the workspace": self.workspace}
        if self.output.location and (outer := outer_of(self.output.location, others)):
            raise refused(["output", "location"], f"lies inside {outer}: name a folder beside it")
        return self
