from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """How long certificates live.

    Attributes:
        authority_days: Life of an authority's own certificate.
        server_days: Life of the broker's and the device listener's certificates.
        device_days: Life of a device's certificate; it renews at two thirds.
        controller_days: Life of the controller's own MQTT client certificate.
        backdate_s: How far before now a certificate becomes valid, for clocks that are behind.
        max_csr_bytes: Largest accepted certificate signing request.
    """

    authority_days: int = 3650
    server_days: int = 90
    device_days: int = 90
    controller_days: int = 90
    backdate_s: int = 3600
    max_csr_bytes: int = 16 * 1024
