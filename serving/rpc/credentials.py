"""TLS for gRPC, from an SSLConfig in text form."""

from dataclasses import dataclass, field

import grpc

from linnaeus.errors import ConfigurationError
from serving.config import text_format
from serving.protocol import messages

_SSL_CONFIG = messages.declare(
    "tensorflow.serving",
    {
        "SSLConfig": {
            "server_key": (1, "string"),
            "server_cert": (2, "string"),
            "custom_ca": (3, "string"),
            "client_verify": (4, "bool"),
        }
    },
)["SSLConfig"]


@dataclass(frozen=True)
class SslConfig:
    """PEM texts: the server's key and certificate, and who signs its clients' certificates.

    Args:
        server_key: the private key.
        server_cert: its certificate, and those that lead from it to a known authority.
        custom_ca: certificates of the authorities that may sign clients'.
        client_verify: refuse clients without a certificate that such an authority signed.
    """

    server_key: str = field(repr=False)
    server_cert: str
    custom_ca: str = ""
    client_verify: bool = False


def read_ssl_config(path: str) -> SslConfig:
    """The configuration in a file, of `config/ssl_config.proto` in text form.

    Raises:
        ConfigurationError: the file cannot be read, or lacks the key or certificate, or the
            authorities without which no client can be verified.
    """
    message = text_format.read(path, _SSL_CONFIG, "tensorflow.serving.SSLConfig")
    if not message.server_key or not message.server_cert:
        raise ConfigurationError(
            f"{path} lacks server_key or server_cert: give both, as PEM texts in quotes"
        )
    if message.client_verify and not message.custom_ca:
        raise ConfigurationError(
            f"{path} lacks custom_ca, by which client_verify knows clients: give the certificates"
            " of those who sign theirs, as PEM texts in quotes"
        )
    return SslConfig(
        message.server_key, message.server_cert, message.custom_ca, message.client_verify
    )


def server_credentials(config: SslConfig) -> grpc.ServerCredentials:
    """What a gRPC server shows its clients and asks of them, as `model_servers/server.cc`."""
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
