"""Whether what an update was refused for has passed."""

import structlog

from skerry_agent.registry import Registry, StorageError
from skerry_agent.updates.ports import DeviceView
from skerry_agent.updates.record import WRONG_BYTES, SlotRecord
from skerry_agent.updates.step import serving_file

log = structlog.get_logger(__name__)


async def refusal_passed(record: SlotRecord, registry: Registry, device: DeviceView) -> bool:
    """Whether there is as much room or memory now as was missing; ask only for refusals that may pass."""
    if record.refused_for(WRONG_BYTES):
        return True  # the pause was what it waits for
    if record.refused_for("no_memory"):
        return device.model_memory_bytes(serving_file(registry.slots_now, record.slot)) >= record.need_bytes
    try:
        return await registry.room_bytes() >= record.need_bytes
    except StorageError as error:
        log.warning("room_unknown", slot=record.slot, error=str(error))
        return False
