"""Size limits of everything that crosses the wire, in one place and with units."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """Upper bounds that both sides enforce before they parse.

    Attributes:
        max_frame_bytes: One MQTT payload. AWS IoT allows 128 KiB, the smallest limit of the
            brokers that we know; a broker's own Maximum Packet Size lowers it further.
        max_control_bytes: A JSON control message (desired state, report, command, acknowledgement).
        max_batch_bytes: A telemetry batch after decompression.
        max_manifest_bytes: A manifest, config bundle or trust document.
        max_metadata_bytes: One TUF metadata file.
        max_labels: Labels of one device.
        max_slots: Slots in one desired state.
        max_adapters: LoRA adapters on the model of one slot.
        max_records: Records in one telemetry batch.
    """

    max_frame_bytes: int = 128 * 1024
    max_control_bytes: int = 120 * 1024
    max_batch_bytes: int = 1024 * 1024
    max_manifest_bytes: int = 8 * 1024 * 1024
    max_metadata_bytes: int = 8 * 1024 * 1024
    max_labels: int = 64
    max_slots: int = 64
    max_adapters: int = 4
    max_records: int = 1000


DEFAULT_LIMITS = ProtocolLimits()
