from typing import Literal

from skerry_controller.errors import PeerError

RefusalCode = Literal["token_unknown", "token_expired", "token_used_up", "token_revoked", "csr_invalid"]


class EnrollmentRefusedError(PeerError):
    """A device may not enroll; ``refusal`` is the stable code that it is told."""

    def __init__(self, refusal: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.refusal: RefusalCode = refusal
