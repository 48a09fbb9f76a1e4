"""Labels from a model server by TensorFlow Serving's protocol, for millions of rows.

Imports neither TensorFlow nor its stubs. Make a client after a fork: gRPC's channels do not
survive one.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import FailureCode, ImageError, LinnaeusError, ServingError
from linnaeus.records import PREDICTION_OUTPUTS, Prediction
from linnaeus.signatures import EMBEDDING, IMAGE_BYTES, INPUTS
from serving.client.answers import read_outputs, read_predictions
from serving.client.batches import Value, batches, value_bytes
from serving.client.channels import Channels, predict_method, status_method
from serving.client.checked_rows import CheckedRow
from serving.client.in_flight import Slots
from serving.client.read_ahead import READY, ReadingAhead
from serving.client.retries import TRIES, is_late, is_overload, is_too_large, retry
from serving.client.server_errors import (
    failed,
    largest_batch,
    not_served,
    one_line,
    read_refusal,
)
from serving.protocol import tensors, wire

K = TypeVar("K")
Outcome = Prediction | LinnaeusError

CONNECT_SECONDS = 15.0
"""How long a server may be away before it has ever answered this client."""
OVERLOAD_PATIENCE = 10.0
"""Of a request that is refused while others are answered, in deadlines: it may be the reason."""

REFUSED_TOGETHER = 8
"""Images that are refused one after the other before a golden one is sent."""
UNCHECKED_ROWS = 64
"""After so many the next request carries the checked row."""

# TensorFlow Serving's words for requests that its model could not answer with any rows.
_UNFIT = ("output tensor alias", "input size does not match", "Signature input alias")


@dataclass(frozen=True)
class _Target:
    """What every request of a stream asks."""

    model: str
    version: int
    signature: str
    outputs: Sequence[str]

    def __str__(self) -> str:
        return f"version {self.version} of model {self.model}"

    @property
    def of_images(self) -> bool:
        return INPUTS[self.signature] == IMAGE_BYTES

    def request(self, values: Sequence[Value]) -> Any:
        request = wire.PredictRequest(output_filter=self.outputs)
        request.model_spec.name = self.model
        request.model_spec.version.value = self.version
        request.model_spec.signature_name = self.signature
        tensors.fill_content(request.inputs[INPUTS[self.signature]], _stacked(values))
        return request


class _Refused(Exception):  # noqa: N818 - not an error: the rows are then tried in halves
    """The server refuses a request for what is in it, or for its size."""

    def __init__(self, message: str, code: FailureCode) -> None:
        super().__init__(message)
        self.code = code


class ScoringClient:
    """Scores rows on a TensorFlow Serving, or whatever speaks as one, at `address`.

    Args:
        address: `HOST:PORT`, any gRPC target such as `dns:///HOST:PORT`, over whose addresses
            requests go in turn, or `grpcs://HOST:PORT` (TLS).
        channels: connections; one alone would stick to one server behind a load balancer.
        in_flight: most requests under way at a time; how many there are adapts to the server.
        deadline_seconds: for each request, and for the patience with a server that has answered
            before and is now away or overloaded.
        connect_seconds: for the patience with a server that has not answered yet; some 15 by
            default, for an address may be wrong.
        batch_rows: most rows in a request.
        batch_bytes: most bytes of values in a request, unless one row is larger.
        ahead_bytes: of values that are read and not answered, some batches more or less.
        outputs: what to ask of the model, from `linnaeus.records.prediction_outputs`.
        least: the model's labels, in UTF-8, and the score from which on each applies; None where
            any will do.
        checked: a row whose answer is known; it is sent alone at first and where all others are
            refused, and along with others now and then.
    """

    def __init__(  # noqa: PLR0913 - each has a default that serves
        self,
        address: str,
        *,
        channels: int = 4,
        in_flight: int = 64,
        deadline_seconds: float = 60.0,
        connect_seconds: float | None = None,
        batch_rows: int = 256,
        batch_bytes: int = 4 << 20,
        ahead_bytes: int = 128 << 20,
        outputs: Sequence[str] = PREDICTION_OUTPUTS,
        least: Mapping[bytes, float] | None = None,
        checked: CheckedRow | None = None,
    ) -> None:
        self.address = address
        self._deadline_seconds = deadline_seconds
        self._connect_seconds = connect_seconds
        self._most_rows = batch_rows + (checked is not None)
        self._batch_bytes = batch_bytes
        self._outputs, self._least, self._checked = outputs, least, checked
        self._checked_said: dict[str, float] = {}
        self._unchecked_rows, self._refused = UNCHECKED_ROWS, 0
        self._answered = False
        self._closed = threading.Event()
        self._channels = Channels(address, channels)
        self._slots = Slots(in_flight)
        self._ahead = ReadingAhead(lambda: self._slots.limit, ahead_bytes)
        self._pool = ThreadPoolExecutor(in_flight + READY, thread_name_prefix="score")

    def __enter__(self) -> "ScoringClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is under way and close the connections."""
        self._closed.set()
        self._slots.close()
        self._channels.close()
        self._pool.shutdown(cancel_futures=True)

    def resolve_version(self, model: str, version: int | None = None) -> int:
        """The version to ask for: the highest that the server has available, or `version`.

        Waits for a version that is just being loaded.

        Raises:
            ServingError: no server answers within some 15 seconds, or it does not serve that.
        """
        give_up_at = time.monotonic() + CONNECT_SECONDS
        while True:
            states = self._version_states(model, version)
            if available := [v for v, state in states.items() if state == wire.STATE_AVAILABLE]:
                return max(available)
            loading = wire.STATE_LOADING & set(states.values())
            if not loading or time.monotonic() > give_up_at:
                raise not_served(self.address, model, version, "it is not available there")
            self._closed.wait(0.2)

    def ask(
        self,
        model: str,
        version: int,
        signature: str,
        values: Sequence[Value],
        outputs: Sequence[str],
    ) -> dict[str, NDArray[Any]]:
        """Some outputs of one request, by name, as the server gives them.

        Args:
            model: its name at the server.
            version: from `resolve_version`.
            signature: as in `score`, or `embed`, which takes bytes.
            values: one or more rows of one shape.
            outputs: which of the signature's.

        Raises:
            ServingError: the server is not there, refuses the request, or answers something else.
        """
        target = _Target(model, version, signature, outputs)
        try:
            response = self._response(target, values)
        except _Refused as refusal:
            raise ServingError(
                f"{self.address}: {target} refuses {signature}: {refusal}; serve a model that "
                "`linnaeus train` exported"
            ) from refusal
        return read_outputs(response.outputs, outputs, len(values))

    def score(
        self, model: str, version: int, signature: str, rows: Iterable[tuple[K, Value]]
    ) -> Iterator[tuple[K, Outcome]]:
        """Score a stream of rows, in its order; several streams at a time share one limit.

        What was answered is never sent again, whatever becomes of other rows of its request.

        Args:
            model: its name at the server.
            version: from `resolve_version`; asked for in every request, checked in every answer.
            signature: `embedding` (float32 [D]), `pixels` (uint8 [H, W, 3]) or
                `serving_default` (an image file's bytes).
            rows: (key, value); the values of one stream have one shape, but for bytes.

        Yields:
            Each row's key and what the model says of it; for bytes that the model refuses, an
            `ImageError` with the server's words instead.

        Raises:
            ServingError: the server is not there, refuses for another reason than one row, or
                answers what makes no sense.
        """
        target = _Target(model, version, signature, self._outputs)
        if not self._checked_said:
            self._ask_checked(target)
        pending: deque[Future[list[tuple[K, Outcome]]]] = deque()
        room = self._most_rows - (self._checked is not None)
        try:
            for batch in batches(rows, max(1, room), self._batch_bytes):
                pending.append(self._submit(target, batch))
                self._ahead.wait_for(pending)
                while pending and pending[0].done():
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
            if self._refused or self._unchecked_rows:
                self._ask_checked(target)
        finally:
            for future in pending:
                future.cancel()

    def _submit(
        self, target: _Target, batch: list[tuple[K, Value]]
    ) -> Future[list[tuple[K, Outcome]]]:
        future = self._pool.submit(self._score_batch, target, batch)
        self._ahead.add(future, sum(value_bytes(value) for _, value in batch))
        return future

    def _score_batch(
        self, target: _Target, batch: list[tuple[K, Value]]
    ) -> list[tuple[K, Outcome]]:
        outcomes = self._outcomes(target, [value for _, value in batch])
        return [(key, outcome) for (key, _), outcome in zip(batch, outcomes, strict=True)]

    def _outcomes(self, target: _Target, values: Sequence[Value]) -> Sequence[Outcome]:
        """One bad row fails its whole request: halve it until that row stands alone."""
        if len(values) <= self._most_rows:  # which may be known better than when they were read
            try:
                return self._predictions(target, values)
            except _Refused as refusal:
                if refusal.code is FailureCode.SERVER_ERROR:
                    self._ask_checked(target)
                if len(values) == 1:
                    return [self._refused_row(target, values[0], refusal)]
        middle = len(values) // 2
        return [*self._outcomes(target, values[:middle]), *self._outcomes(target, values[middle:])]

    def _refused_row(self, target: _Target, value: Value, refusal: _Refused) -> ImageError:
        if isinstance(value, bytes):
            self._refused += 1
            if self._refused % REFUSED_TOGETHER == 0:
                self._ask_checked(target)
            _, words = read_refusal(str(refusal))
            return ImageError(f"{target} refuses it: {words}", refusal.code, value)
        # Arrays of one stream are alike: what is wrong with this one is wrong with all.
        raise ServingError(
            f"{self.address}: {target} refuses {target.signature} rows of {value.dtype}"
            f" {list(value.shape)}: {refusal}; check that they are of the model's own backbone"
        ) from refusal

    def _predictions(self, target: _Target, values: Sequence[Value]) -> list[Prediction]:
        """Where rows are mixed up, the checked one shows it, wherever it is but in the middle.

        There it would stay where it is when the others are reversed.
        """
        self._unchecked_rows += len(values)
        if self._checked is None or self._unchecked_rows < UNCHECKED_ROWS:
            return self._said(target, values)
        self._unchecked_rows = 0
        place = random.choice([n for n in range(len(values) + 1) if 2 * n != len(values)])
        if len(values) == 1 or len(values) >= self._most_rows:
            self._ask_checked(target)  # before it: were both refused, the row alone were to blame
            return self._said(target, values)
        said = self._said(target, [*values[:place], self._checked.value, *values[place:]])
        self._checked.refuse_other(self.address, said.pop(place), self._checked_said)
        return said

    def _ask_checked(self, target: _Target) -> None:
        if self._checked is None:
            return
        try:
            [said] = self._said(target, [self._checked.value])
            if not self._checked_said and self._checked.scores:  # by the head, past any decoder
                head = replace(target, signature=EMBEDDING)
                [of_head] = self._said(head, [self._checked.embedding])
                self._checked.refuse_other(self.address, of_head, self._checked.scores)
        except _Refused as refusal:
            raise ServingError(
                f"{self.address}: {target} refuses even the golden image {self._checked.name}:"
                f" {read_refusal(str(refusal))[1]}; see its log, and run the same command again"
            ) from refusal
        if self._checked_said:
            self._checked.refuse_other(self.address, said, self._checked_said)
        self._checked_said = dict(zip(said.top_labels, said.top_scores, strict=True))

    def _said(self, target: _Target, values: Sequence[Value]) -> list[Prediction]:
        response = self._response(target, values)
        self._refused = 0
        return read_predictions(response.outputs, self._outputs, len(values), self._least)

    def _response(self, target: _Target, values: Sequence[Value]) -> Any:
        request = target.request(values)

        def predict() -> Any:
            with self._slots.call(len(values)):
                return self._channels.call(predict_method, request, self._deadline_seconds)

        try:
            response = retry(predict, self._give_up_at, self._wait_but_for_slots)
        except grpc.RpcError as error:
            raise self._explained(error, target) from error
        self._answered = True
        self._check_model(response.model_spec, target)
        return response

    def _wait_but_for_slots(self, error: grpc.RpcError, seconds: float) -> None:
        """Where the server is overloaded or late, there are fewer slots, which is wait enough."""
        if not is_overload(error) and not is_late(error):
            self._closed.wait(seconds)

    def _give_up_at(self, error: grpc.RpcError, failing_since: float) -> float:
        if self._closed.is_set():
            return 0.0
        if is_overload(error):
            since = min(
                max(failing_since, self._slots.last_answer),
                failing_since + (OVERLOAD_PATIENCE - 1) * self._deadline_seconds,
            )
            return since + self._deadline_seconds
        patience = self._deadline_seconds
        if not self._answered:
            patience = min(patience, self._connect_seconds or CONNECT_SECONDS)
        return failing_since + patience

    def _version_states(self, model: str, version: int | None) -> dict[int, int]:
        request = wire.GetModelStatusRequest()
        request.model_spec.name = model
        if version is not None:
            request.model_spec.version.value = version
        try:
            response = retry(
                lambda: self._channels.call(status_method, request, CONNECT_SECONDS),
                self._give_up_at,
                lambda _, seconds: self._closed.wait(seconds),
            )
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise not_served(self.address, model, version, one_line(error)) from error
            raise failed(self.address, error, model, CONNECT_SECONDS) from error
        self._answered = True
        states = {status.version: status.state for status in response.model_version_status}
        return states if version is None else {v: states[v] for v in states if v == version}

    def _explained(self, error: grpc.RpcError, target: _Target) -> Exception:
        match error.code():
            case grpc.StatusCode.INVALID_ARGUMENT if not one_line(error).startswith(_UNFIT):
                self._most_rows = largest_batch(one_line(error), self._most_rows)
                code, _ = read_refusal(one_line(error))
                return _Refused(one_line(error), code)
            case grpc.StatusCode.RESOURCE_EXHAUSTED if is_too_large(error):
                return _Refused(one_line(error), FailureCode.TOO_LARGE)
            case code if code in TRIES and self._checked and target.of_images:
                return _Refused(f"{code.name}: {one_line(error)}", FailureCode.SERVER_ERROR)
            case grpc.StatusCode.NOT_FOUND:
                return not_served(self.address, target.model, target.version, one_line(error))
            case grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.INVALID_ARGUMENT:
                return ServingError(
                    f"{self.address}: {target} cannot answer {target.signature}:"
                    f" {one_line(error)}; serve a model that `linnaeus train` exported"
                )
        return failed(self.address, error, target.model, self._deadline_seconds)

    def _check_model(self, spec: Any, target: _Target) -> None:
        name = spec.name or target.model
        if (name, spec.version.value) != (target.model, target.version):
            raise ServingError(
                f"{self.address} was asked for {target} and answered with version"
                f" {spec.version.value} of {name[:99]!r}; let all servers at that address serve it"
            )


def _stacked(values: Sequence[Value]) -> NDArray[Any]:
    if isinstance(values[0], bytes):
        return np.array(values, object)
    return np.stack(values)  # type: ignore[arg-type]
