"""Devices, channels and config bundles for operators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from skerry_controller.fleet.channels import Channels, ChannelSummary
from skerry_controller.fleet.configs import ConfigAssignment, ConfigAssignments
from skerry_controller.fleet.devices import Devices, DeviceView
from skerry_controller.fleet.publisher import DesiredPublisher
from skerry_controller.operator_api import Actor, provide
from skerry_controller.rollouts import Rollouts

router = APIRouter()

TheDevices = Annotated[Devices, Depends(provide(Devices))]
TheChannels = Annotated[Channels, Depends(provide(Channels))]
TheConfigs = Annotated[ConfigAssignments, Depends(provide(ConfigAssignments))]
Publisher = Annotated[DesiredPublisher, Depends(provide(DesiredPublisher))]
Planner = Annotated[Rollouts, Depends(provide(Rollouts))]
Selection = Annotated[str, Query(description="Label selector, such as site=lab,ring!=canary; empty is all.")]


class LabelChange(BaseModel):
    """Labels to set, and keys of labels to remove."""

    model_config = ConfigDict(extra="forbid")

    add: dict[str, str] = {}
    remove: list[str] = []


class ChannelChange(BaseModel):
    """Who follows a channel, and its first version. What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    selector: str | None = None
    artifact: str | None = None
    adapters: list[str] = []


class NewConfigAssignment(BaseModel):
    """A config bundle ``NAME@VERSION`` for the devices that a selector matches."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    selector: str


@router.get("/devices", tags=["devices"], summary="Devices whose labels match")
async def list_devices(devices: TheDevices, selector: Selection = "") -> list[DeviceView]:
    """All by default."""
    return await devices.list(selector)


@router.get("/devices/{device}", tags=["devices"], summary="What a device should run, and what it runs")
async def show_device(device: str, devices: TheDevices) -> DeviceView:
    """With its newest report as it stands."""
    return await devices.show(device)


@router.patch("/devices/{device}/labels", tags=["devices"], summary="Set and remove labels")
async def label_device(
    device: str,
    change: LabelChange,
    devices: TheDevices,
    publisher: Publisher,
    planner: Planner,
    actor: Actor,
) -> dict[str, str]:
    """The labels after it. Channels and bundles follow at once."""
    labels = await devices.label(device, add=change.add, remove=change.remove, actor=actor)
    await publisher.refresh([device])
    planner.wake()
    return labels


@router.get("/channels", tags=["channels"], summary="All channels")
async def list_channels(channels: TheChannels) -> list[ChannelSummary]:
    """By name."""
    return await channels.list()


@router.get("/channels/{line}/{track}", tags=["channels"], summary="One channel")
async def show_channel(line: str, track: str, channels: TheChannels) -> ChannelSummary:
    """Its selector and current version."""
    return await channels.show(f"{line}/{track}")


@router.put("/channels/{line}/{track}", tags=["channels"], summary="Make or change a channel")
async def set_channel(
    line: str,
    track: str,
    change: ChannelChange,
    channels: TheChannels,
    publisher: Publisher,
    planner: Planner,
    actor: Actor,
) -> ChannelSummary:
    """Only the first version is set here; after that, rollouts move a channel."""
    summary = await channels.set(
        f"{line}/{track}",
        selector=change.selector,
        artifact=change.artifact,
        adapters=change.adapters,
        actor=actor,
    )
    await publisher.refresh()
    planner.wake()
    return summary


@router.get("/config-assignments", tags=["configs"], summary="Config bundles by selector")
async def list_configs(configs: TheConfigs) -> list[ConfigAssignment]:
    """In the order of application: later ones win."""
    return await configs.list()


@router.post("/config-assignments", tags=["configs"], summary="Give a config bundle to devices")
async def assign_config(
    new: NewConfigAssignment, configs: TheConfigs, publisher: Publisher, actor: Actor
) -> ConfigAssignment:
    """Another version of the same bundle for the same selector takes its place."""
    assignment = await configs.assign(new.bundle, selector=new.selector, actor=actor)
    await publisher.refresh()
    return assignment


@router.delete("/config-assignments/{assignment}", tags=["configs"], summary="Take a config bundle back")
async def remove_config(
    assignment: int, configs: TheConfigs, publisher: Publisher, actor: Actor
) -> ConfigAssignment:
    """Devices go back to their own settings."""
    removed = await configs.remove(assignment, actor=actor)
    await publisher.refresh()
    return removed
