"""Which services the two applications get, and which long-lived tasks run beside them."""

import asyncio

from fastapi import FastAPI

from skerry_controller.bundles import Bundles, CarriedBack
from skerry_controller.device_api import create_device_app
from skerry_controller.device_api.app import DeviceServices
from skerry_controller.director import Director
from skerry_controller.enrollment import EnrollmentService
from skerry_controller.mqtt import FleetParts, FleetSide
from skerry_controller.operator_api import Services
from skerry_controller.operator_api.app import create_operator_app
from skerry_controller.operator_api.dependencies import authenticate
from skerry_controller.serve import slices
from skerry_controller.serve.core import Core


def fleet_side(core: Core, topic_root: str) -> FleetSide:
    """Everything that faces the fleet; nothing runs yet."""
    return FleetSide(
        FleetParts(
            database=core.database,
            repository=core.repository,
            blobs=core.blobs,
            authorities=core.authorities,
            director=Director(core.online_keys.private_key("director"), core.clock),
            capabilities=core.capabilities,
            clock=core.clock,
            mqtt=slices.mqtt_settings(core.settings, topic_root),
            fleet=slices.fleet_settings(core.settings),
            capability_life_s=core.settings.device.capability_life_s,
            tick_interval_s=core.settings.fleet.rollout_interval_s,
        )
    )


def operator_app(core: Core, fleet: FleetSide) -> FastAPI:
    """The operators' application, over HTTP or in process."""
    director = Director(core.online_keys.private_key("director"), core.clock)
    bundles = Bundles(
        core.database,
        core.repository,
        fleet.publisher,
        fleet.ingest,
        director,
        core.trust_document,
        core.clock,
        max_valid_days=core.settings.repository.max_carried_days,
    )
    back = CarriedBack(fleet.reports, fleet.ingest, fleet.publisher, fleet.rollouts, director, fleet.refusals)
    return create_operator_app(
        Services(
            core.database,
            core.authorities,
            core.repository,
            core.blobs,
            core.artifacts,
            core.tokens,
            core.admins,
            slices.blob_settings(core.settings),
            slices.operator_api_limits(core.settings),
            bundles,
            back,
            core.library,
            core.jobs,
            *fleet.services,
        )
    )


def device_app(core: Core, enrollment: EnrollmentService) -> FastAPI:
    """The devices' application."""
    return create_device_app(
        DeviceServices(
            authorities=core.authorities,
            enrollment=enrollment,
            blobs=core.blobs,
            capabilities=core.capabilities,
            clock=core.clock,
            limits=slices.device_api_limits(core.settings),
        )
    )


async def local_app(core: Core) -> FastAPI:
    """The operators' application for a command on a data folder that no controller runs on.

    Whoever may open the folder needs no token. Devices hear of changes when a controller runs again.
    """
    trust = await asyncio.to_thread(core.trust_document)
    app = operator_app(core, fleet_side(core, trust.topic_root))
    app.dependency_overrides[authenticate] = _local_operator
    return app


async def _local_operator() -> str:
    return "admin:local"
