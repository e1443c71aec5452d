"""The controller's audit log for operators."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from skerry_controller.audit import entries
from skerry_controller.database import Database
from skerry_controller.operator_api.dependencies import provide

router = APIRouter(prefix="/audit", tags=["audit"])

MAX_ENTRIES = 1000


class AuditBody(BaseModel):
    """Who did what to what, and when."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


@router.get("", summary="The audit log, newest entries first")
async def list_entries(
    database: Annotated[Database, Depends(provide(Database))],
    limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 100,
    before: Annotated[int | None, Query(description="Only entries with a smaller id")] = None,
    action: str | None = None,
) -> list[AuditBody]:
    """Page back with ``before``."""
    found = await entries(database, limit=limit, before_id=before, action=action)
    return [AuditBody(**entry) for entry in found]
