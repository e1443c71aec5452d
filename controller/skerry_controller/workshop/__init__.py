"""The workshop: models found, imported, converted, quantized, measured, compared and made into artifacts.

See docs/decisions/0036: its state is a folder (``library``), and what may crash or must be cancelled runs in
child processes.
"""
