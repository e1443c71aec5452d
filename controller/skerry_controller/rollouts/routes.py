"""Rollouts for operators."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from skerry_controller.operator_api import Actor, provide
from skerry_controller.rollouts.service import RolloutRequest, Rollouts
from skerry_controller.rollouts.views import RolloutView

router = APIRouter(prefix="/rollouts", tags=["rollouts"])

TheRollouts = Annotated[Rollouts, Depends(provide(Rollouts))]


class NewRollout(BaseModel):
    """A rollout to start; see ``skerry rollout create --help``. Times of the window are UTC."""

    model_config = ConfigDict(extra="forbid")

    channel: str
    to: str
    waves: str = RolloutRequest.waves
    max_failures: str = RolloutRequest.max_failures
    soak: str = RolloutRequest.soak
    window: str | None = None
    adapters: list[str] = []


@router.get("", summary="Rollouts, the newest first")
async def list_rollouts(rollouts: TheRollouts, channel: str | None = None) -> list[RolloutView]:
    """Of all channels or of one."""
    return await rollouts.list(channel)


@router.post("", status_code=201, summary="Move a channel to another version")
async def create_rollout(new: NewRollout, rollouts: TheRollouts, actor: Actor) -> RolloutView:
    """It runs by itself; a channel that nobody follows moves at once."""
    return await rollouts.create(RolloutRequest(**new.model_dump()), actor=actor)


@router.get("/{rollout}", summary="One rollout with all its devices")
async def show_rollout(rollout: str, rollouts: TheRollouts) -> RolloutView:
    """As it stands now."""
    return await rollouts.show(rollout)


@router.post("/{rollout}/pause", summary="Assign no further device")
async def pause_rollout(rollout: str, rollouts: TheRollouts, actor: Actor) -> RolloutView:
    """Devices that are under way go on."""
    return await rollouts.pause(rollout, actor=actor)


@router.post("/{rollout}/resume", summary="Go on; devices that failed try again")
async def resume_rollout(rollout: str, rollouts: TheRollouts, actor: Actor) -> RolloutView:
    """Also after it paused by itself."""
    return await rollouts.resume(rollout, actor=actor)


@router.post("/{rollout}/abort", summary="End it; its devices go back")
async def abort_rollout(rollout: str, rollouts: TheRollouts, actor: Actor) -> RolloutView:
    """To the channel's version."""
    return await rollouts.abort(rollout, actor=actor)
