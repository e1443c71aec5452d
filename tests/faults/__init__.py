"""Kills, power cuts and failing disks at every operation of an update: ``make faults``."""
