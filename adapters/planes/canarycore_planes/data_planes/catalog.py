"""The data planes by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from canarycore_planes.bench import DataPlane
from canarycore_planes.data_planes.contour import CONTOUR
from canarycore_planes.data_planes.skipper import SKIPPER

DATA_PLANES: Mapping[str, DataPlane] = MappingProxyType({"contour": CONTOUR, "skipper": SKIPPER})
"""All data planes of `canary rehearse --plane`."""
