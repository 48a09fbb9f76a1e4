"""Keeps the libraries' own chatter off a person's terminal."""

import logging
import os
import sys
import warnings

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "NONE",
    "PYTHONWARNINGS": "ignore",
}


def silence_libraries() -> None:
    """Show only what this program says; call it before TensorFlow, gRPC or Beam is imported.

    What goes wrong arrives as an exception, so nothing is lost with the logs. Child processes
    inherit the silence, and what a person has set in the environment stays.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    _drop_native_messages()


def _drop_native_messages() -> None:
    """Keep `sys.stderr` where it is and send file descriptor 2 to nowhere.

    TensorFlow logs while its library is loaded, before it reads any setting, so nothing milder
    helps.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(
        terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace"
    )
