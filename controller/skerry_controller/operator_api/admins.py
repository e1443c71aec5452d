"""Administrators' bearer tokens: random, shown once, stored as a hash."""

import hashlib
import hmac
import secrets
from typing import ClassVar

from sqlalchemy import select

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import AdminTokenRow, Database
from skerry_controller.errors import UsageError

PREFIX = "skerry-admin-"
_SECRET_BYTES = 32
_ID_BYTES = 5


class UnauthorizedError(UsageError):
    """Nobody that we know asks."""

    code: ClassVar[str] = "unauthorized"


class Admins:
    """The administrators of one controller."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, label: str, *, actor: str) -> str:
        """Make a token and return it; only its hash is kept."""
        token = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        row = AdminTokenRow(
            id=f"a-{secrets.token_hex(_ID_BYTES)}",
            label=label,
            secret_sha256=_digest(token),
            created_at=self._clock(),
            revoked_at=None,
        )
        async with self._database.transaction() as session:
            session.add(row)
            note(session, at=row.created_at, actor=actor, action="admin_created", subject=row.id, label=label)
        return token

    async def authenticate(self, token: str) -> str:
        """The token's owner as ``admin:LABEL``.

        Raises:
            UnauthorizedError: It is unknown or revoked.
        """
        digest = _digest(token)
        # The lookup is by the hash of a random secret: its timing tells nothing about any secret.
        async with self._database.session() as session:
            row = await session.scalar(select(AdminTokenRow).where(AdminTokenRow.secret_sha256 == digest))
        if row is None or not hmac.compare_digest(row.secret_sha256, digest) or row.revoked_at is not None:
            raise UnauthorizedError("the administrator's token is not valid here: run 'skerry login' again")
        return f"admin:{row.label}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
