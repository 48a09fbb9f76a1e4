"""Keeps a catalog as its configuration file says, while the file changes."""

import logging
import threading

from linnaeus.errors import LinnaeusError
from serving.grpc_status import StatusError
from serving.models.catalog import Catalog
from serving.models.model_config import read_models

_log = logging.getLogger(__name__)


class ConfigPolling:
    """A thread that reads a model config file again and again.

    A file with a mistake is logged, and the configuration before it stays.
    """

    def __init__(self, catalog: Catalog, path: str, wait_seconds: float) -> None:
        self._catalog = catalog
        self._path = path
        self._wait_seconds = wait_seconds
        self._complaint = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="config", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _poll(self) -> None:
        while not self._stopping.wait(self._wait_seconds):
            # Every time, changed or not: a label that was refused may name a version by now.
            try:
                models = read_models(self._path)
                if models is not None:
                    self._catalog.reload(models)
                self._complaint = ""
            except (LinnaeusError, StatusError) as error:
                self._complain(str(error))

    def _complain(self, complaint: str) -> None:
        """Log, once as long as nothing changes."""
        if complaint != self._complaint:
            _log.error("cannot take %s, serving on as before: %s", self._path, complaint)
        self._complaint = complaint
