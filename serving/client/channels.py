"""Connections to a model server, or to the several behind one address."""

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from linnaeus.errors import ConfigurationError
from serving.addresses import check_address
from serving.client.retries import is_lost
from serving.protocol import wire

SECURE = "grpcs://"
KEY_FILE, CERTIFICATE_FILE = "LINNAEUS_TLS_KEY_FILE", "LINNAEUS_TLS_CERTIFICATE_FILE"
CLOUD_RUN = ".run.app"
PING_AFTER_MSEC, PONG_WITHIN_MSEC = 30_000, 10_000
"""Servers take offence at the third ping within five minutes without a word in between."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Channels:
    """Connections to one address, in turn; one that lost a call rests, for it may be silent."""

    def __init__(self, address: str, count: int) -> None:
        self._channels = open_channels(address, count)
        self._turns = itertools.count()
        self._resting_until = [0.0] * count

    def call(self, method: Callable[[grpc.Channel], Any], request: Any, seconds: float) -> Any:
        """The answer to a request; `grpc.RpcError` where there is none within so many seconds."""
        turn, now, count = next(self._turns), time.monotonic(), len(self._channels)
        in_turn = ((turn + n) % count for n in range(count))
        number = min(in_turn, key=lambda one: max(now, self._resting_until[one]))
        try:
            return method(self._channels[number])(request, timeout=seconds)
        except grpc.RpcError as error:
            if is_lost(error):
                self._resting_until[number] = time.monotonic() + seconds
            raise

    def close(self) -> None:
        """End all connections."""
        for channel in self._channels:
            channel.close()


def open_channels(address: str, count: int) -> list[grpc.Channel]:
    """Connections of their own to `HOST:PORT`, a gRPC target, or `grpcs://HOST:PORT` by TLS.

    TLS trusts gRPC's own roots, or those in the file that `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` names.
    To a server that asks who calls, it shows the certificate that the environment names; to one of
    Cloud Run, a token of this machine's account.

    Raises:
        ConfigurationError: it is no address; of certificate and key only one is named, or one
            cannot be read; or there is no account to show to Cloud Run.
    """
    check_address(address)
    return [_channel(address, number) for number in range(count)]


def _channel(address: str, number: int) -> grpc.Channel:
    if not address.startswith(SECURE):
        return grpc.insecure_channel(address, _options(address, number))
    target = address.removeprefix(SECURE)
    credentials = _credentials()
    host = target.rpartition(":")[0]
    if host.endswith(CLOUD_RUN):
        credentials = grpc.composite_channel_credentials(credentials, _identity(host))
    return grpc.secure_channel(target, credentials, _options(target, number))


def _identity(host: str) -> grpc.CallCredentials:
    """Who this machine is on Google Cloud, told to the one host."""
    try:
        from google.auth.exceptions import DefaultCredentialsError
        from google.auth.transport.grpc import AuthMetadataPlugin
        from google.auth.transport.requests import Request
        from google.oauth2 import id_token

        account = id_token.fetch_id_token_credentials(f"https://{host}", Request())
    except (ImportError, DefaultCredentialsError) as error:
        raise ConfigurationError(
            f"{host} asks who calls, and nobody is signed in: {error}"
        ) from error
    return grpc.metadata_call_credentials(AuthMetadataPlugin(account, Request()))


def _credentials() -> grpc.ChannelCredentials:
    key, certificate = (os.environ.get(name) for name in (KEY_FILE, CERTIFICATE_FILE))
    if bool(key) != bool(certificate):
        raise ConfigurationError(f"name both {KEY_FILE} and {CERTIFICATE_FILE}, or neither")
    if not key or not certificate:
        return grpc.ssl_channel_credentials()
    return grpc.ssl_channel_credentials(None, _read(key), _read(certificate))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}, named for TLS: {error}") from error


def _options(target: str, number: int) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        # Channels of equal options share one connection.
        ("linnaeus.channel", number),
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.keepalive_time_ms", PING_AFTER_MSEC),
        ("grpc.keepalive_timeout_ms", PONG_WITHIN_MSEC),
        # Of gRPC's own pings, behind which those of keepalive wait.
        ("grpc.http2.ping_timeout_ms", PONG_WITHIN_MSEC),
        ("grpc.max_send_message_length", -1),
        # One connection to each address of the target, in turn.
        ("grpc.lb_policy_name", "round_robin"),
        # gRPC's own retries silently stop above 256 KiB, and its reconnecting slows to minutes.
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    if target.rpartition(":")[0] in _LOOPBACK:
        options.append(("grpc.enable_http_proxy", 0))
    return options


def predict_method(channel: grpc.Channel) -> Any:
    """The call Predict."""
    return _method(channel, wire.PREDICT, wire.PredictRequest, wire.PredictResponse)


def status_method(channel: grpc.Channel) -> Any:
    """The call GetModelStatus."""
    asked, told = wire.GetModelStatusRequest, wire.GetModelStatusResponse
    return _method(channel, wire.GET_MODEL_STATUS, asked, told)


def _method(channel: grpc.Channel, name: str, asked: Any, told: Any) -> Any:
    return channel.unary_unary(name, asked.SerializeToString, told.FromString)
