from dataclasses import dataclass

from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.requests import FRAME_OVERHEAD_BYTES, LARGEST_PACKET_BYTES
from skerry_protocol.topics import DEFAULT_ROOT


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The controller's MQTT session.

    Attributes:
        host: The broker's name or address, as its certificate has it.
        port: Its TLS port.
        topic_root: What stands before all topics.
        share_group: Name of the shared subscriptions of all replicas.
        keepalive_s: MQTT keep-alive.
        timeout_s: For the connection, a subscription, a publication.
        backoff_min_s: Wait before the first reconnection; doubled each time.
        backoff_max_s: Longest wait.
        stable_after_s: A session of this length starts the waits over.
        max_waiting: Messages that may wait; more mean: reconnect and ask again.
        max_waiting_per_device: Replies and batches of one device that may wait; more are dropped.
        max_waiting_requests: Requests of one device that may wait; more are dropped, and asked again.
        max_waiting_bytes: All that may wait; more mean: reconnect and ask again.
        max_message_bytes: Largest payload of a device that may wait; a larger one is dropped.
        max_device_bytes: All of one device that may wait in one lane; more are dropped.
        answer_workers: Requests that are worked on at once.
        max_in_flight: QoS 1 messages under way to the broker.
        max_body_bytes: Largest body of a response frame.
    """

    host: str
    port: int
    topic_root: str = DEFAULT_ROOT
    share_group: str = "skerry-controllers"
    keepalive_s: int = 30
    timeout_s: float = 10.0
    backoff_min_s: float = 0.2
    backoff_max_s: float = 10.0
    stable_after_s: float = 30.0
    max_waiting: int = 20_000
    max_waiting_per_device: int = 64
    max_waiting_requests: int = 64
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_message_bytes: int = LARGEST_PACKET_BYTES
    max_device_bytes: int = 2 * 1024 * 1024
    answer_workers: int = 6
    max_in_flight: int = 64
    max_body_bytes: int = DEFAULT_LIMITS.max_frame_bytes - FRAME_OVERHEAD_BYTES
