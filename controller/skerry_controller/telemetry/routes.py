"""What devices sent, for operators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from skerry_controller.operator_api import provide
from skerry_controller.telemetry.queries import LogEntry, Point, RecordCounts, Telemetry

router = APIRouter(prefix="/devices/{device}", tags=["telemetry"])

TheTelemetry = Annotated[Telemetry, Depends(provide(Telemetry))]
Limit = Annotated[int, Query(ge=1, le=100_000, description="At most so many, the newest.")]


@router.get("/telemetry/{metric}", summary="Values of one metric")
async def query_metric(
    device: str, metric: str, since: AwareDatetime, telemetry: TheTelemetry, limit: Limit = 10_000
) -> list[Point]:
    """Oldest first, by the device's time."""
    return await telemetry.metric(device, metric, since=since, limit=limit)


@router.get("/log", summary="What happened on and around a device")
async def read_log(
    device: str, since: AwareDatetime, telemetry: TheTelemetry, limit: Limit = 1000
) -> list[LogEntry]:
    """What the device told, and which of its messages were refused here. Oldest first."""
    return await telemetry.log(device, since=since, limit=limit)


@router.get("/records", summary="How many records of a device are stored, and how many are lost")
async def count_records(device: str, telemetry: TheTelemetry) -> RecordCounts:
    """Each record counts once, however often it came."""
    return await telemetry.counts(device)
