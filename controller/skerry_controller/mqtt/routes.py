"""Commands to devices, for operators."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from skerry_controller.fleet import Devices
from skerry_controller.mqtt.commands import DEFAULT_TIMEOUT_S, CommandService
from skerry_controller.operator_api import Actor, provide

router = APIRouter(prefix="/devices/{device}", tags=["devices"])

TheCommands = Annotated[CommandService, Depends(provide(CommandService))]
TheDevices = Annotated[Devices, Depends(provide(Devices))]


class CommandBody(BaseModel):
    """A command, and how long to wait for the reply (seconds)."""

    model_config = ConfigDict(extra="forbid")

    name: Literal["ping", "report", "rollback"]
    arguments: dict[str, str] = {}
    timeout_s: float = Field(default=DEFAULT_TIMEOUT_S, gt=0, le=600)


class ReplyBody(BaseModel):
    """What the device replied."""

    ok: bool
    message: str
    data: dict[str, str]


@router.post("/commands", summary="Send a command and wait for the device's reply")
async def send_command(
    device: str, body: CommandBody, commands: TheCommands, devices: TheDevices, actor: Actor
) -> ReplyBody:
    """The device has to be online. A reply that says no is an answer too: look at ``ok``."""
    await devices.show(device)
    reply = await commands.send(device, body.name, body.arguments, timeout_s=body.timeout_s, actor=actor)
    return ReplyBody(ok=reply.ok, message=reply.message, data=reply.data)
