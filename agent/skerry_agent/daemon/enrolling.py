"""``skerry-agent enroll``: joins a fleet, with the daemon running or not."""

from pathlib import Path

from skerry_agent.identity import enroll
from skerry_agent.state import StateFolder
from skerry_agent.telemetry import read_inventory
from skerry_agent.trust import TrustStore
from skerry_agent.trusted_time import TrustedTime


async def enroll_device(token: str, controller_url: str, state_dir: Path) -> str:
    """Enroll the device of a state folder, and return the id that it got.

    A daemon that runs on the folder notices the new identity by itself.

    Raises:
        AgentError: It was not enrolled; nothing is left over.
    """
    state = StateFolder(state_dir)
    state.prepare()
    time = TrustedTime(state.trusted_time)
    identity = await enroll(
        token,
        controller_url,
        folder=state.identity,
        trust=TrustStore(state.trust, time),
        time=time,
        inventory=read_inventory(state.root),
    )
    return identity.device
