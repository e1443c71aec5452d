from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skerry_protocol.requests import LARGEST_PACKET_BYTES
from skerry_protocol.topics import DEFAULT_ROOT


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How the managed mosquitto runs.

    Attributes:
        folder: Its configuration and TLS files (``data/broker``).
        port: TCP port for MQTT over TLS.
        bind_address: Address to listen on; None is all of this machine's.
        binary: Path of mosquitto; None looks in ``PATH`` and in the usual ``sbin`` folders.
        account: User as which mosquitto runs when the controller is root.
        run_folder: Where a root controller puts the files when ``account`` cannot reach ``folder``.
        topic_root: What stands before all topics.
        tls_version: Lowest accepted version.
        max_packet_size_bytes: Largest MQTT packet; clients are told. 0 is no limit: then one device can fill
            the broker's memory.
        max_queued_bytes: Messages waiting for one slow reader; far above what flow control allows.
        start_timeout_s: How long it may take until it accepts connections.
        stop_timeout_s: How long it may take to stop before it is killed.
        backoff_min_s: Wait before the first restart; doubled each time.
        backoff_max_s: Longest wait before a restart.
        stable_after_s: A run of this length starts the waits over.
    """

    folder: Path
    port: int = 8883
    bind_address: str | None = None
    binary: Path | None = None
    account: str = "mosquitto"
    run_folder: Path = Path("/run")
    topic_root: str = DEFAULT_ROOT
    tls_version: Literal["tlsv1.2", "tlsv1.3"] = "tlsv1.2"
    max_packet_size_bytes: int = LARGEST_PACKET_BYTES
    max_queued_bytes: int = 256 * 1024 * 1024
    start_timeout_s: float = 15.0
    stop_timeout_s: float = 5.0
    backoff_min_s: float = 0.2
    backoff_max_s: float = 30.0
    stable_after_s: float = 60.0
