"""The session with the controller over MQTT: reports and records go up, desired states come down.

Importing this loads neither aiomqtt nor paho; the first connection does.
"""

from skerry_agent.sync.desired import Refusal, Taken
from skerry_agent.sync.errors import (
    BadAnswerError,
    BlobNotFoundError,
    FrameTooLargeError,
    NoAnswerError,
    NotConnectedError,
)
from skerry_agent.sync.limits import SyncLimits, WindowLimits
from skerry_agent.sync.ports import (
    CertificateHolder,
    CommandHandler,
    CommandOutcome,
    Connector,
    DesiredFollower,
    ReportSources,
)
from skerry_agent.sync.pump import seal_batch
from skerry_agent.sync.requester import Requester
from skerry_agent.sync.service import SyncService

__all__ = [
    "BadAnswerError",
    "BlobNotFoundError",
    "CertificateHolder",
    "CommandHandler",
    "CommandOutcome",
    "Connector",
    "DesiredFollower",
    "FrameTooLargeError",
    "NoAnswerError",
    "NotConnectedError",
    "Refusal",
    "ReportSources",
    "Requester",
    "SyncLimits",
    "SyncService",
    "Taken",
    "WindowLimits",
    "seal_batch",
]
