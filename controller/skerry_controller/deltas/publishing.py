"""Publishing a delta from where the files and the keyring are: the pack, then the signed index."""

from securesystemslib.signer import Signer

from skerry_controller.artifacts.adding import Added, Remote, publish_target
from skerry_controller.clock import Clock
from skerry_controller.deltas.building import BuiltDelta


async def publish_delta(remote: Remote, built: BuiltDelta, signer: Signer, *, clock: Clock) -> Added:
    """Upload the pack when it is missing, sign the index, and publish. To be called again after any failure.

    Raises:
        ConflictError: Others publish without end.
        UsageError: Another delta between these files is published.
        PeerError: The controller's metadata are not what this key signed, or it refused ours.
    """
    uploaded = await remote.blob_size(built.pack_sha256) is None
    if uploaded:
        await remote.upload_blob(built.pack_sha256, built.pack)
    await publish_target(remote, "models", built.target_path, built.content, signer, clock=clock)
    return Added("published", uploaded=uploaded)
