"""The world as a packed data set, with label tables and contact sheets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE, AlignmentTemplate
from tcae.data.crops import Crop, CroppedFrame, Landmarks
from tcae.data.faces import Face
from tcae.data.labels import LABELS
from tcae.data.pack_worker import VideoRow
from tcae.data.packing import Report, pack_videos
from tcae.data.shard_files import PackInfo
from tcae.data.sources import Source
from tcae.data.synthetic.expression import ACTION_UNITS
from tcae.data.synthetic.world import Video, World, identity_name
from tcae.files.durable import write_csv, write_durably

TRUTH, SHEETS = "truth.csv", "sheets"
# Intensities from which a unit is labelled 1 (2 of 5, as for DISFA), and below which 0.
PRESENT, ABSENT = 0.4, 0.05
_GENERATOR = "tcae.synthesize 3"  # the number grows when equal options give other pictures
_SHEET_ROWS, _SHEET_COLUMNS = 8, 12


@dataclass(frozen=True)
class RenderedVideo(Source):
    """A video of the world, to be packed."""

    numbers: tuple[int, int] = (0, 0)

    def size(self) -> int:
        """Return 0: the settings say everything about a video."""
        return 0


@dataclass(frozen=True)
class WorldFrames:
    """Renders the frames of a packed data set; a `tcae.data.crops.FrameMaker`.

    Attributes:
        world: The world to render.
    """

    world: World

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""
        return self.world.image_size

    @property
    def template(self) -> AlignmentTemplate:
        """The places of the five points of a face in the pictures."""
        return DEFAULT_TEMPLATE

    @property
    def settings(self) -> dict[str, Any]:
        """All options of the world."""
        return {"generator": _GENERATOR} | settings_of(self.world)

    def open(self) -> Callable[[Source, Landmarks | None], Iterator[CroppedFrame]]:
        """Return the function that renders a video."""
        return self._frames

    def _frames(self, source: Source, _: Landmarks | None = None) -> Iterator[CroppedFrame]:
        assert isinstance(source, RenderedVideo)
        video = self.world.video(*source.numbers)
        for frame, time in enumerate(video.times.tolist()):
            state = video.state(frame)
            points = video.points(state)
            face = Face(np.concatenate([points.min(0), points.max(0)]), points, 1.0)
            crop = Crop("0", frame, time, face, video.picture(state, frame))
            yield CroppedFrame(frame, time, [crop])


def synthesize(
    world: World, out: Path, workers: int, report: Report = lambda row, frames: None
) -> list[VideoRow]:
    """Render a world into a packed data set, or continue one.

    Args:
        world: The world to render.
        out: Directory of the packed data set.
        workers: Number of processes. The pictures do not depend on it.
        report: Called with the progress; see `tcae.data.packing.Report`.

    Returns:
        The outcome of each video.

    Raises:
        ValueError: `out` holds something else, or another world, or is being written to.
        OSError: For example the disk is full. Everything on the disk before is safe.
    """
    sources: list[Source] = [
        _source(i, k) for i in range(world.identities) for k in range(world.videos)
    ]
    rows = pack_videos(sources, out, WorldFrames(world), workers=workers, report=report)
    _write_sheets(world, out / SHEETS)
    _write_tables(world, out)
    return rows


def default_world(
    cache: Path, world: World, workers: int, report: Report = lambda row, frames: None
) -> Path:
    """Return the packed data set of a world. Render it if it is not yet in the cache in full.

    Args:
        cache: Directory of packed worlds.
        world: The world.
        workers: Number of processes that render it.
        report: See `synthesize`.

    Returns:
        The data set's directory.
    """
    text = json.dumps(WorldFrames(world).settings, sort_keys=True)
    name = f"world-{world.image_size}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    if not (cache / name / LABELS).exists():  # which is written last
        synthesize(world, cache / name, workers, report)
    return cache / name


def world_of(directory: Path) -> World:
    """Return the world that a packed data set was rendered from.

    Raises:
        ValueError: The data set was not rendered, or by another version.
    """
    settings = PackInfo.load(directory).settings
    if settings.get("generator") != _GENERATOR:
        raise ValueError(
            f"{directory}: was made by {settings.get('generator', 'tcae.pack')!r}, not by "
            f"{_GENERATOR!r}"
        )
    options = {name: value for name, value in settings.items() if name != "generator"}
    try:
        return _restored(World(), "", options)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{directory}: not the options of a world: {error}") from error


def settings_of(options: Any, prefix: str = "") -> dict[str, Any]:
    """Return all options by their dotted names."""
    items = options.items() if isinstance(options, Mapping) else (
        (field.name, getattr(options, field.name)) for field in dataclasses.fields(options)
    )  # fmt: skip
    flat: dict[str, Any] = {}
    for name, value in items:
        nested = isinstance(value, Mapping) or dataclasses.is_dataclass(value)
        flat |= settings_of(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


def _restored(like: Any, prefix: str, flat: Mapping[str, Any]) -> Any:
    """Return the options that `settings_of` gave these names."""
    if isinstance(like, Mapping):
        return {name: flat[prefix + name] for name in like}
    if not dataclasses.is_dataclass(like) or isinstance(like, type):
        return flat[prefix.removesuffix(".")]
    values = {
        field.name: _restored(getattr(like, field.name), f"{prefix}{field.name}.", flat)
        for field in dataclasses.fields(like)
    }
    return dataclasses.replace(like, **values)


def _source(identity: int, video: int) -> RenderedVideo:
    name = identity_name(identity)
    key = f"{name}/{video}"
    return RenderedVideo(Path(key), key, name, key, "", False, (identity, video))


def _write_tables(world: World, out: Path) -> None:
    """Write `labels.csv` for the probe and `truth.csv` with intensities and pose."""
    labels = [["frame", "subject", *ACTION_UNITS]]
    truth = [["frame", "subject", *(f"{unit}_r" for unit in ACTION_UNITS), "yaw", "pitch", "roll"]]
    for identity in range(world.identities):
        for number in range(world.videos):
            video = world.video(identity, number)
            source = _source(identity, number)
            for frame in range(len(video)):
                state = video.state(frame)
                name = [f"{source.video}/0/{frame}", source.identity]
                strength = state.intensities.mean(1)
                labels.append(name + _cells(strength))
                truth.append(name + [f"{v:.4f}" for v in (*strength, *state.pose)])
    write_csv(out / TRUTH, truth)
    write_csv(out / LABELS, labels)


def _cells(strength: NDArray[np.floating]) -> list[str]:
    cells = np.where(strength >= PRESENT, "1", "9")
    cells[strength < ABSENT] = "0"
    return [str(cell) for cell in cells]


def _write_sheets(world: World, folder: Path) -> None:
    """Write pictures to look at: people, moments of videos, and each action unit."""
    folder.mkdir(exist_ok=True)
    people = range(min(world.identities, _SHEET_ROWS))
    shown = np.unique(np.linspace(0, world.frames - 1, _SHEET_COLUMNS).astype(int))
    videos = [world.video(i, k) for i in people for k in range(min(world.videos, 2))]
    moments = [[video.picture(video.state(f), f) for f in shown] for video in videos]
    count = min(world.identities, _SHEET_ROWS * _SHEET_COLUMNS)
    faces = [world.video(i, 0) for i in range(count)]
    middle = world.frames // 2
    portraits = [video.picture(video.state(middle), middle) for video in faces]
    columns = [portraits[k : k + _SHEET_COLUMNS] for k in range(0, count, _SHEET_COLUMNS)]
    _write_sheet(folder / "people.png", columns)
    _write_sheet(folder / "moments.png", moments)
    _write_sheet(folder / "units.png", [_unit_row(video) for video in videos[:: world.videos]])


def _unit_row(video: Video) -> list[NDArray[np.uint8]]:
    """Return the neutral face, then each action unit at full intensity."""
    neutral = video.neutral()
    row = [video.scene(neutral)]
    for number, unit in enumerate(ACTION_UNITS):
        intensities = np.zeros_like(neutral.intensities)
        intensities[number] = 1
        rgb = video.scene(neutral._replace(intensities=intensities))
        scale = len(rgb) / 320
        cv2.putText(rgb, unit, (2, int(30 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 0))
        row.append(rgb)
    return row


def _write_sheet(path: Path, rows: list[list[NDArray[np.uint8]]]) -> None:
    width = max(map(len, rows))
    blank = np.zeros_like(rows[0][0])
    lines = [np.hstack(row + [blank] * (width - len(row))) for row in rows]
    sheet = cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR)
    write_durably(path, cv2.imencode(".png", sheet)[1].tobytes())
