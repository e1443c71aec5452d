from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How desired states are kept fresh.

    Attributes:
        desired_renewal_s: A desired state that is older is issued again, well before it expires.
        sweep_interval_s: How often the whole fleet is looked at for that, and for a new epoch.
        heal_interval_s: Shortest time between two answers to the same disagreement of one device.
    """

    desired_renewal_s: int = 10 * 86400
    sweep_interval_s: float = 60.0
    heal_interval_s: float = 5.0
