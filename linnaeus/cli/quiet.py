"""Keeps the libraries' own chatter off a person's terminal."""

from __future__ import annotations

import logging
import os
import warnings

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "GLOG_minloglevel": "3",
    "PYTHONWARNINGS": "ignore",
}
_LOGGERS = ("absl", "apache_beam", "tensorflow", "tf_keras", "nncf", "openvino", "grpc", "root")


def silence_libraries() -> None:
    """Let libraries report errors only; call it before TensorFlow, gRPC or Beam is imported.

    What a person has set in the environment stays. Child processes inherit the rest.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
