"""Asks a source what it has."""

import os

from skerry_controller.clock import utc_now
from skerry_controller.workshop.importing.http import offer_http
from skerry_controller.workshop.importing.offer import Offer
from skerry_controller.workshop.importing.registry import Registry
from skerry_controller.workshop.importing.s3 import S3Access, offer_s3
from skerry_controller.workshop.importing.sources import (
    HttpSource,
    HubSource,
    LocalSource,
    RegistrySource,
    S3Source,
    Source,
)
from skerry_controller.workshop.importing.web import Web
from skerry_controller.workshop.library.entry import OriginKind


def find_offer(web: Web, source: Source) -> Offer:
    """What a source has.

    Args:
        web: Makes the requests.
        source: Anything but a local one.

    Raises:
        ControllerError: It is out of reach, has no such thing, or does not give it away.
    """
    match source:
        case HttpSource():
            return offer_http(source)
        case S3Source():
            return offer_s3(source, S3Access.of(os.environ), utc_now)
        case HubSource():
            from skerry_controller.workshop.importing.hub import offer_hub  # noqa: PLC0415 - heavy, and only here

            return offer_hub(source)
        case RegistrySource():
            return Registry(web, source).offer()
        case LocalSource():
            raise ValueError("a local file is not fetched")


def origin_kind(source: Source) -> OriginKind:
    """What kind of place a source is."""
    match source:
        case HttpSource():
            return "http"
        case S3Source():
            return "s3"
        case HubSource():
            return "hub"
        case RegistrySource():
            return "ollama" if source.ollama else "oci"
        case LocalSource():
            return "folder" if source.path.is_dir() else "file"
