"""Facial expressions: action units with the statistics and the dynamics of people who talk.

Each unit is the excess of a smooth Gaussian process over a threshold, which the unit's base rate
determines (a Gaussian copula). So rates, intensities and co-occurrence are those of the options,
and a unit rises from zero to an apex and falls back to zero. Blinks are separate events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.head import UNITS
from tcae.data.synthetic.motion import check_range, smooth_noise

Array = NDArray[np.float64]

ACTION_UNITS = tuple(f"AU{number:02d}" for number in UNITS)
"""Names of the action units, in the order of all intensities."""
BLINK = ACTION_UNITS.index("AU45")

# Shares of the time in which a unit is active. Those of posed expressions in the Cohn-Kanade set
# (its published incidence table), and for units that it does not list about those of spontaneous
# ones, where public sets differ widely.
RATES = {
    "AU01": 0.29, "AU02": 0.20, "AU04": 0.32, "AU05": 0.17, "AU06": 0.21, "AU07": 0.20,
    "AU09": 0.13, "AU10": 0.20, "AU12": 0.30, "AU14": 0.20, "AU15": 0.15, "AU16": 0.20,
    "AU17": 0.20, "AU18": 0.20, "AU20": 0.13, "AU22": 0.13, "AU23": 0.10, "AU24": 0.10,
    "AU25": 0.48, "AU26": 0.20,
}  # fmt: skip

# Correlation of the processes behind two units: what is known to come together (1+2 surprise, 6+12
# smile, 4+7+9 disgust and anger, 15+17 sadness, 25+26 speech) or to exclude each other.
_TOGETHER = {
    (1, 2): 0.85, (1, 4): 0.15, (1, 5): 0.45, (2, 5): 0.5, (2, 4): -0.3, (4, 7): 0.5, (4, 9): 0.4,
    (4, 6): 0.1, (4, 12): -0.3, (4, 15): 0.25, (4, 17): 0.3, (4, 23): 0.3, (4, 24): 0.3,
    (5, 7): -0.4, (5, 6): -0.3, (5, 9): -0.3, (5, 25): 0.3, (5, 26): 0.4, (5, 20): 0.2,
    (6, 7): 0.45, (6, 9): 0.25, (6, 10): 0.35, (6, 12): 0.75, (6, 15): -0.25, (6, 25): 0.25,
    (7, 9): 0.45, (7, 10): 0.35, (7, 12): 0.25, (9, 10): 0.5, (9, 17): 0.3, (9, 12): -0.1,
    (10, 12): 0.2, (10, 25): 0.3, (10, 20): 0.15, (12, 14): 0.1, (12, 15): -0.6, (12, 17): -0.3,
    (12, 16): 0.2, (12, 18): -0.5, (12, 20): -0.2, (12, 22): -0.4, (12, 23): -0.2, (12, 24): -0.2,
    (12, 25): 0.4, (14, 17): 0.2, (14, 18): -0.3, (14, 24): 0.25, (14, 25): -0.25, (15, 17): 0.6,
    (15, 24): 0.2, (15, 25): -0.25, (16, 17): -0.3, (16, 24): -0.5, (16, 25): 0.5, (16, 26): 0.3,
    (17, 23): 0.4, (17, 24): 0.5, (17, 25): -0.45, (17, 26): -0.4, (18, 20): -0.4, (18, 22): 0.3,
    (18, 23): 0.2, (20, 22): -0.3, (20, 24): -0.3, (20, 25): 0.45, (20, 26): 0.3, (22, 24): -0.5,
    (22, 25): 0.4, (22, 26): 0.3, (23, 24): 0.5, (23, 25): -0.4, (23, 26): -0.3, (24, 25): -0.75,
    (24, 26): -0.6, (25, 26): 0.85,
}  # fmt: skip

_SPEECH_SECONDS = 0.05
_SPEAKING_SECONDS = 1.5
# How much speech, rather than feeling, moves each unit (share of the variance while speaking).
_SPEECH_SHARE = {"AU10": 0.2, "AU16": 0.6, "AU17": 0.4, "AU18": 0.7, "AU20": 0.3, "AU22": 0.7,
                 "AU23": 0.5, "AU24": 0.5, "AU25": 0.8, "AU26": 0.8}  # fmt: skip
# Units of muscles that both sides of the face share.
_MIDLINE = ("AU17", "AU18", "AU22", "AU23", "AU24", "AU25", "AU26")
_BLINK_ASYMMETRY = 0.05


@dataclass(frozen=True)
class ExpressionConfig:
    """How often, how strongly and how fast faces move.

    Attributes:
        rates: Share of the time in which an action unit is active. AU45, the blink, has an option
            of its own: blinks.
        mean_intensity: Mean intensity of an active action unit, from 0 to 1.
        pace: Seconds that an expression takes to build up.
        talking: Share of the time in which the person speaks.
        habit: How much people differ in what they show often, from 0 (not at all) to 1 (each
            person always shows the same).
        asymmetry: How much the two sides of a face differ, from 0 (not at all) to 1 (each side
            moves by itself).
        blinks: Blinks per minute. People at rest blink 17 times, in conversation 26 times.
        blink_seconds: Median duration of a blink.
    """

    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))
    mean_intensity: float = 0.75
    pace: float = 0.45
    talking: float = 0.5
    habit: float = 0.15
    asymmetry: float = 0.1
    blinks: float = 26.0
    blink_seconds: float = 0.3

    def __post_init__(self) -> None:
        unknown = [name for name in self.rates if name not in ACTION_UNITS[:BLINK]]
        missing = [name for name in ACTION_UNITS[:BLINK] if name not in self.rates]
        if unknown or missing:
            raise ValueError(
                f"expression.rates must name {', '.join(ACTION_UNITS[:BLINK])}; "
                f"{'unknown' if unknown else 'missing'}: {(unknown or missing)[0]}"
            )
        for name, rate in self.rates.items():
            check_range(f"expression.rates of {name}", rate, 0, 1)
        check_range("expression.mean_intensity", self.mean_intensity, 0.05, 0.95)
        check_range("expression.pace", self.pace, 0.05, 60)
        for name in ("talking", "habit", "asymmetry"):
            check_range(f"expression.{name}", getattr(self, name), 0, 1)
        check_range("expression.blinks", self.blinks, 0, 60)
        check_range("expression.blink_seconds", self.blink_seconds, 0.05, 1)


def correlation() -> Array:
    """Return the correlations (20, 20) of all units but AU45; the matrix is positive definite."""
    numbers = list(UNITS[:BLINK])
    matrix = np.eye(len(numbers))
    for (a, b), value in _TOGETHER.items():
        i, j = numbers.index(a), numbers.index(b)
        matrix[i, j] = matrix[j, i] = value
    values, vectors = np.linalg.eigh(matrix)  # the wishes need not be consistent: the nearest is
    matrix = (vectors * np.maximum(values, 0.02)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return np.asarray(matrix / scale / scale[:, None])


def habits(random: np.random.Generator) -> Array:
    """Return the habits of one person: (20,) Gaussian numbers for `perform`."""
    return np.asarray(_FACTOR @ random.standard_normal(len(_FACTOR)))


def perform(
    random: np.random.Generator, times: Array, habit: Array, config: ExpressionConfig
) -> Array:
    """Return the intensities of all action units in a video.

    Args:
        random: The video's random numbers.
        times: (T,) seconds from the start.
        habit: The person's habits, from `habits`.
        config: How faces move.

    Returns:
        (T, 21, 2) intensities in [0, 1] of `ACTION_UNITS`, first of the person's left side (right
        in the picture), then of the right side.
    """
    feeling, speech, speaking, sides, blinks = random.spawn(5)
    share = _speech_shares(speaking, times, config.talking)
    slow = smooth_noise(feeling, times, config.pace, BLINK) @ _FACTOR.T
    fast = smooth_noise(speech, times, _SPEECH_SECONDS, BLINK) @ _FACTOR.T
    process = np.sqrt(1 - share) * slow + np.sqrt(share) * fast
    process = np.sqrt(config.habit) * habit + np.sqrt(1 - config.habit) * process
    own = smooth_noise(sides, times, config.pace, 2 * BLINK).reshape(-1, BLINK, 2)
    apart = np.array([0 if name in _MIDLINE else config.asymmetry for name in ACTION_UNITS[:BLINK]])
    apart = apart[:, None]
    both = np.sqrt(1 - apart) * process[..., None] + np.sqrt(apart) * own
    intensities = _excess(both, config)
    return np.concatenate([intensities, _blinks(blinks, times, config)[:, None]], 1)


def _speech_shares(random: np.random.Generator, times: Array, talking: float) -> Array:
    """Return the share (T, 20) of each process's variance that is speech. It changes smoothly."""
    state = _normal(smooth_noise(random, times, _SPEAKING_SECONDS, 1))
    speaking = np.clip((state - (1 - talking)) / 0.1 + 0.5, 0, 1) if 0 < talking < 1 else talking
    shares = np.array([_SPEECH_SHARE.get(name, 0.0) for name in ACTION_UNITS[:BLINK]])
    return np.asarray(speaking * shares)


def _excess(process: Array, config: ExpressionConfig) -> Array:
    """Return intensities (T, 20, 2): where among its active times a standard normal process is."""
    rates = np.array([config.rates[name] for name in ACTION_UNITS[:BLINK]])[:, None]
    active = np.clip((_normal(process) - (1 - rates)) / np.maximum(rates, 1e-12), 0, 1)
    # A uniform number to this power has the mean that was asked for.
    return np.asarray(active ** (1 / config.mean_intensity - 1))


def _blinks(random: np.random.Generator, times: Array, config: ExpressionConfig) -> Array:
    """Return the closure (T, 2) of the eyes."""
    closure = np.zeros((len(times), 2))
    if config.blinks == 0:
        return closure
    mean = 60 / config.blinks  # seconds from one blink to the next
    rest = min(0.5, mean / 2)  # of them pass at least
    end = float(times.max(initial=0)) + 1
    now = -random.exponential(mean)
    while now < end:
        now += rest + random.exponential(mean - rest)
        seconds = config.blink_seconds * math.exp(0.25 * random.standard_normal())
        depth = 1 - 0.3 * random.random() ** 3
        uneven = 1 - _BLINK_ASYMMETRY * random.random(2)
        closure = np.maximum(closure, (_blink((times - now) / seconds) * depth)[:, None] * uneven)
    return closure


def _blink(phase: Array) -> Array:
    """Return the closure over a blink: down in a third of it, a moment shut, up more slowly."""
    down, up = np.clip(phase / 0.33, 0, 1), np.clip((phase - 0.45) / 0.55, 0, 1)
    return np.asarray((down - up) ** 2 * (3 - 2 * (down - up)))


def _normal(values: Array) -> Array:
    """Return the distribution function of the standard normal."""
    flat = [0.5 * math.erfc(-value / math.sqrt(2)) for value in values.ravel().tolist()]
    return np.array(flat).reshape(values.shape)


_FACTOR = np.linalg.cholesky(correlation())
