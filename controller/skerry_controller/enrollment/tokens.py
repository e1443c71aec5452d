"""Enrollment tokens as the operator makes, lists and revokes them. Only a secret's hash is stored."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import Database, EnrollmentTokenRow
from skerry_controller.enrollment.settings import EnrollmentSettings
from skerry_controller.errors import NotFoundError, UsageError
from skerry_protocol.selectors import check_label

_SECRET_BYTES = 24
_ID_BYTES = 5

TokenState = Literal["usable", "expired", "used_up", "revoked"]


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What may be shown of a token."""

    id: str
    state: TokenState
    labels: Mapping[str, str]
    uses_left: int
    expires_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A new token with its secret, which is shown this once."""

    info: TokenInfo
    secret: str = field(repr=False)


class EnrollmentTokens:
    """The tokens of one controller."""

    def __init__(self, database: Database, clock: Clock, settings: EnrollmentSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def create(
        self, *, labels: Mapping[str, str], uses: int, life_s: int | None, actor: str
    ) -> CreatedToken:
        """Make a token.

        Args:
            labels: Every device that enrolls with it gets these.
            uses: How many devices may.
            life_s: For how long, in seconds; None means the default.
            actor: Who asks, for the audit log.

        Raises:
            UsageError: A bound is exceeded.
            NameSyntaxError: A label breaks the grammar.
        """
        life_s = self._settings.default_life_s if life_s is None else life_s
        self._check(labels, uses, life_s)
        now = self._clock()
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = EnrollmentTokenRow(
            id=f"t-{secrets.token_hex(_ID_BYTES)}",
            secret_sha256=secret_digest(secret),
            labels=dict(labels),
            uses_left=uses,
            expires_at=now + timedelta(seconds=life_s),
            created_at=now,
            revoked_at=None,
        )
        async with self._database.transaction() as session:
            session.add(row)
            detail = {"labels": row.labels, "uses": uses, "expires_at": row.expires_at.isoformat()}
            note(session, at=now, actor=actor, action="token_created", subject=row.id, **detail)
        return CreatedToken(_info(row, now), secret)

    async def list_all(self) -> list[TokenInfo]:
        """All tokens, the newest first."""
        now = self._clock()
        async with self._database.session() as session:
            query = select(EnrollmentTokenRow).order_by(EnrollmentTokenRow.created_at.desc())
            rows = (await session.scalars(query)).all()
        return [_info(row, now) for row in rows]

    async def revoke(self, token_id: str, *, actor: str) -> TokenInfo:
        """End a token; devices that enrolled with it stay.

        Raises:
            NotFoundError: There is no such token.
        """
        now = self._clock()
        async with self._database.transaction() as session:
            row = await session.get(EnrollmentTokenRow, token_id)
            if row is None:
                raise NotFoundError(
                    f"there is no enrollment token {token_id!r}: 'skerry token list' shows them"
                )
            if row.revoked_at is None:
                row.revoked_at = now
                note(session, at=now, actor=actor, action="token_revoked", subject=token_id)
        return _info(row, now)

    def _check(self, labels: Mapping[str, str], uses: int, life_s: int) -> None:
        settings = self._settings
        if not 1 <= uses <= settings.max_uses:
            raise UsageError(f"a token has 1 to {settings.max_uses} uses, not {uses}")
        if not 1 <= life_s <= settings.max_life_s:
            raise UsageError(f"a token lives 1 to {settings.max_life_s} seconds, not {life_s}")
        if len(labels) > settings.max_labels:
            raise UsageError(f"a device has at most {settings.max_labels} labels, not {len(labels)}")
        for key, value in labels.items():
            check_label(key, value)


def secret_digest(secret: str) -> str:
    """The hash under which a secret is stored. It is long and random, so a plain one will do."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_state(row: EnrollmentTokenRow, now: datetime) -> TokenState:
    """Whether a token can be used, or why not."""
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= now:
        return "expired"
    return "usable" if row.uses_left > 0 else "used_up"


def _info(row: EnrollmentTokenRow, now: datetime) -> TokenInfo:
    return TokenInfo(
        id=row.id,
        state=token_state(row, now),
        labels=row.labels,
        uses_left=row.uses_left,
        expires_at=row.expires_at,
        created_at=row.created_at,
    )
