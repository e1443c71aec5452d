import time
from collections.abc import Callable, Mapping
from typing import Protocol

from skerry_controller.errors import WorldError
from skerry_controller.fleet import TrustState
from skerry_protocol.names import TRUST_TARGET
from skerry_protocol.trust_document import TrustDocument, decode_trust_document


class TrustRepository(Protocol):
    """The part of the repository that tells what devices believe; blocking."""

    def target(self, path: str) -> bytes | None:
        """The published bytes of a target."""

    def versions(self) -> Mapping[str, int]:
        """Current version of each role."""


class TrustView:
    """The current trust document, and the versions of the TUF roles."""

    def __init__(
        self,
        repository: TrustRepository,
        *,
        life_s: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._life_s = life_s
        self._monotonic = monotonic
        self._document: tuple[TrustDocument, float] | None = None

    def document(self) -> TrustDocument:
        """The trust document, read again at most every few seconds. Blocking.

        Raises:
            WorldError: The repository lost it.
        """
        now = self._monotonic()
        if self._document is not None and now < self._document[1]:
            return self._document[0]
        document = self._read()
        self._document = (document, now + self._life_s)
        return document

    def state(self) -> TrustState:
        """The current epoch and role versions. Blocking."""
        return TrustState(self._read().epoch, self._repository.versions())

    def _read(self) -> TrustDocument:
        content = self._repository.target(TRUST_TARGET)
        if content is None:
            raise WorldError(f"the repository has no {TRUST_TARGET}: run 'skerry init', or restore a backup")
        return decode_trust_document(content)
