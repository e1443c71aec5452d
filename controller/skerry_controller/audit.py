"""The controller's audit log: written in the transaction of what it tells about."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.database import AuditRow, Database


def note(
    session: AsyncSession, *, at: datetime, actor: str, action: str, subject: str, **detail: object
) -> None:
    """Add an entry to the session's transaction.

    Args:
        session: The transaction in which the thing itself happens.
        at: Now.
        actor: ``admin:LABEL``, ``device:ID``, ``token:ID`` or ``system``.
        action: What was done, such as ``token_created``.
        subject: To what: an id or name.
        detail: JSON values; never secrets.
    """
    session.add(AuditRow(at=at, actor=actor, action=action, subject=subject, detail=detail))


async def entries(
    database: Database, *, limit: int, before_id: int | None = None, action: str | None = None
) -> list[dict[str, Any]]:
    """The newest entries first."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(AuditRow.id < before_id)
    if action is not None:
        query = query.where(AuditRow.action == action)
    async with database.session() as session:
        rows = (await session.scalars(query)).all()
    return [
        {
            "id": row.id,
            "at": row.at,
            "actor": row.actor,
            "action": row.action,
            "subject": row.subject,
            "detail": row.detail,
        }
        for row in rows
    ]
