"""Mistakes planted into the model, one at a time: each is a patch that lives as long as one test."""

from __future__ import annotations

from . import detection, disk, failovers, topology, votes
from .planting import Defect

DEFECTS: dict[str, Defect] = votes.DEFECTS | disk.DEFECTS | detection.DEFECTS | failovers.DEFECTS | topology.DEFECTS
