"""Bounds and times of the session with the controller."""

from dataclasses import dataclass, field, fields

KiB = 1024


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """Flow control of what is requested.

    Attributes:
        target_s: Bytes in flight are at most so many seconds of measured throughput.
        min_frame_bytes: The smallest frame asked for, unless the broker's packet limit is below it; one
            such frame may always be in flight.
        initial_frames: How many smallest frames are in flight before anything was measured.
        max_frames: How many frames of the full size are in flight at most.
    """

    target_s: float = 2.0
    min_frame_bytes: int = 8 * KiB
    initial_frames: int = 4
    max_frames: int = 8

    def __post_init__(self) -> None:
        if min(self.target_s, self.min_frame_bytes, self.initial_frames, self.max_frames) <= 0:
            raise ValueError("flow control: all limits must be above 0")


@dataclass(frozen=True, slots=True)
class SyncLimits:
    """Everything else; times in seconds.

    Attributes:
        keepalive_s: MQTT keepalive.
        connect_timeout_s: For the TCP connection, for TLS, and for the broker's answer, each.
        reconnect_initial_s: Upper end of the first pause before a reconnect (full jitter).
        reconnect_max_s: Upper end of the longest one.
        stable_after_s: A session that lasted this long resets the pause.
        publish_timeout_s: For the broker's receipt of one message.
        max_inbox_messages: Messages of one kind that may wait; more start the session again.
        max_inbox_bytes: The same in bytes.
        request_timeout_s: Least time to wait for one response frame.
        max_attempts: Of one frame.
        retry_initial_s: Upper end of the pause before the second attempt (full jitter, doubling).
        retry_max_s: Upper end of the longest one.
        reconnect_wait_s: How long a request waits for a session before it fails.
        ack_timeout_s: Unacknowledged records are sent again after this; doubling.
        ack_timeout_max_s: The longest such time.
        max_unacked_batches: Batches under way; one after a timeout.
        max_batch_frame_bytes: Largest batch on the wire, so that a slow uplink stays responsive.
        report_interval_s: Least time between reports while an update goes on.
        heartbeat_s: A report is sent at least so often.
        refresh_interval_s: Time between refreshes of the TUF metadata.
        refresh_min_interval_s: Least time between refreshes that something asks for.
        renewal_check_s: Time between looks at the certificate's age.
        command_timeout_s: Longest time that a command may take.
        max_refusals_per_minute: Refusal events; more are counted, and logged no more.
    """

    keepalive_s: int = 30
    connect_timeout_s: float = 10.0
    reconnect_initial_s: float = 1.0
    reconnect_max_s: float = 60.0
    stable_after_s: float = 30.0
    publish_timeout_s: float = 30.0
    max_inbox_messages: int = 64
    max_inbox_bytes: int = 1024 * KiB
    request_timeout_s: float = 15.0
    max_attempts: int = 4
    retry_initial_s: float = 1.0
    retry_max_s: float = 15.0
    reconnect_wait_s: float = 60.0
    ack_timeout_s: float = 15.0
    ack_timeout_max_s: float = 300.0
    max_unacked_batches: int = 4
    max_batch_frame_bytes: int = 32 * KiB
    report_interval_s: float = 2.0
    heartbeat_s: float = 300.0
    refresh_interval_s: float = 3600.0
    refresh_min_interval_s: float = 30.0
    renewal_check_s: float = 3600.0
    command_timeout_s: float = 60.0
    max_refusals_per_minute: int = 20
    window: WindowLimits = field(default_factory=WindowLimits)

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{one.name} must be above 0")
