"""Patches between the bytes of one tensor in two versions of a model: small when the weights moved a little.

``encode_patch`` belongs to whoever publishes, ``decode_patch`` to the device: standard library and zstandard
alone, a bounded amount of memory (some 20 times the length of the piece), and C speed wherever there is one.
"""

from skerry_protocol.tensor_patch.codec import PatchLimits, decode_patch, encode_patch

__all__ = ["PatchLimits", "decode_patch", "encode_patch"]
