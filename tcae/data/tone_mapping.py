"""From HDR (PQ or HLG, BT.2020) to the colours of ordinary video (BT.709).

Displayed light is computed as ITU-R BT.2100 says, its peaks are rolled off as BT.2390 says (section
5.4, on the largest of red, green and blue, so that hues stay), and BT.2408's reference white, 203
cd/m2, becomes white.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

TRANSFERS = {16: "PQ, SMPTE ST 2084", 18: "HLG, ARIB STD-B67"}
"""HDR's transfer characteristics (ITU-T H.273) and their names."""

Array = NDArray[np.float32]

_PEAK, _WHITE = 1000.0, 203.0  # cd/m2: of the display that HDR is made for, and of ours
_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 107 / 128, 2413 / 128, 2392 / 128
_A, _GAMMA = 0.17883277, 1.2  # of HLG
_B, _C = 1 - 4 * _A, 0.5 - _A * np.log(4 * _A)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
# BT.2087: linear BT.2020 to linear BT.709.
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_DISPLAY_GAMMA = 2.4  # BT.1886


def tone_map(codes: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Return a picture in the colours of ordinary video.

    Args:
        codes: (H, W, 3) full-range R'G'B' of BT.2020, 65535 for 1.
        transfer: A key of `TRANSFERS`.

    Returns:
        (H, W, 3) R'G'B' of BT.709.
    """
    light = _light_of_codes(transfer)[codes]
    if transfer == 18:
        scene = np.maximum(light @ _LUMINANCE, 1e-9)
        light *= (_PEAK * scene ** (_GAMMA - 1))[..., None]
    knots, gains = _roll_off()
    light *= np.interp(light.max(-1), knots, gains).astype(np.float32)[..., None]
    linear = np.clip(light @ _TO_709.T / np.float32(_WHITE), 0, 1)
    return np.rint(255 * linear ** (1 / _DISPLAY_GAMMA)).astype(np.uint8)


@cache
def _light_of_codes(transfer: int) -> Array:
    """Return what each code stands for: cd/m2 of PQ, scene light from 0 to 1 of HLG."""
    signal = np.arange(65536) / 65535
    light = pq_light(signal) if transfer == 16 else hlg_light(signal)
    return light.astype(np.float32)


@cache
def _roll_off() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return light in cd/m2, and by how much it is multiplied."""
    peak, white = pq_signal(np.array([_PEAK, _WHITE]))
    signal = np.linspace(0, 1, 2049)
    light = pq_light(signal)
    shown = pq_light(peak * eetf(np.minimum(signal / peak, 1), white / peak))
    return light, np.divide(shown, light, out=np.ones_like(light), where=light > 0)


def pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m2 of a PQ signal from 0 to 1 (BT.2100, table 4)."""
    power = np.asarray(signal) ** (1 / _M2)
    return 10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def pq_signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the PQ signal from 0 to 1 of light in cd/m2 (BT.2100, table 4)."""
    power = (np.asarray(light) / 10000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def hlg_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scene's light from 0 to 1 of an HLG signal from 0 to 1 (BT.2100, table 5)."""
    signal = np.asarray(signal)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)


def eetf(signal: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """Return a signal rolled off to at most `most`, both as shares of the brightest (BT.2390)."""
    knee = 1.5 * most - 0.5
    t = (signal - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee)
    spline += (-2 * t**3 + 3 * t**2) * most
    return np.where(signal < knee, signal, spline)
