"""The story that ``make demo`` tells, on real parts; every step is checked by code that can fail."""
