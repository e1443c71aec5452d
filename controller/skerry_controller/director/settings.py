from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DirectorSettings:
    """How long what the director signs may be followed, in seconds.

    Attributes:
        desired_life_s: A desired state. Issued again before it ends, for devices that come back late.
        command_life_s: A command, when the caller does not say.
        acknowledgement_life_s: An acknowledgement.
        certificate_answer_life_s: The answer with a renewed certificate (not the certificate).
    """

    desired_life_s: int = 30 * 86400
    command_life_s: int = 60
    acknowledgement_life_s: int = 3600
    certificate_answer_life_s: int = 3600
