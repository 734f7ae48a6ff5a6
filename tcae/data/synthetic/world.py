"""A world of rendered talking heads: every person, video and frame from the seed alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.synthetic.appearance import AppearanceConfig, Look
from tcae.data.synthetic.camera import CameraConfig, Sensor, crop_jitter, crop_matrix
from tcae.data.synthetic.expression import ExpressionConfig, habits, perform
from tcae.data.synthetic.flow import Flow, exact_flow
from tcae.data.synthetic.head import Head
from tcae.data.synthetic.motion import MotionConfig, check_range, gaze, head_motion, room_motion
from tcae.data.synthetic.occluders import OccluderConfig, Occluders, hand_motion
from tcae.data.synthetic.render import render
from tcae.data.synthetic.scene import Camera, Light, Pose, Surface, View, look, view_of
from tcae.data.synthetic.setting import Background, SettingConfig, draw_body, light
from tcae.data.synthetic.solids import SolidView
from tcae.data.synthetic.wrinkles import strengths, wrinkle_maps

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

# The purpose of a stream of random numbers, part of its seed.
_PERSON, _VIDEO, _FRAME = range(3)
# What has random numbers of its own in a video. New things are added at the end.
_STREAMS = ("act", "turn", "look", "sway", "jitter", "light", "room", "sensor", "clothes",
            "occluders", "hand")  # fmt: skip
_MOMENT = 0.01  # seconds
_LEVER = 1.6  # head units from the neck's top to the front of the face


@dataclass(frozen=True)
class World:
    """What the world looks like. The defaults are the world that `tcae.train` renders.

    Attributes:
        identities: Number of people.
        videos: Videos of each person, each with its own light, room, clothes and camera.
        frames: Frames of each video.
        fps: Frames per second.
        image_size: Side of the pictures in pixels.
        seed: Seed of all random numbers. The same seed and options give the same pictures.
        expression: What faces do.
        motion: How heads move.
        appearance: How people look.
        occluders: What hides parts of faces.
        setting: Where videos are taken.
        camera: How faces are cut out and how good the pictures are.
    """

    identities: int = 200
    videos: int = 2
    frames: int = 20
    fps: float = 5.0
    image_size: int = 128
    seed: int = 0
    expression: ExpressionConfig = field(default_factory=ExpressionConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    occluders: OccluderConfig = field(default_factory=OccluderConfig)
    setting: SettingConfig = field(default_factory=SettingConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)

    def __post_init__(self) -> None:
        for name, most in (("identities", 10**6), ("videos", 10**4), ("frames", 10**6)):
            check_range(name, getattr(self, name), 1, most)
        check_range("fps", self.fps, 0.01, 1000)
        check_range("image_size", self.image_size, 16, 1024)
        check_range("seed", self.seed, 0, 2**63)

    def person(self, identity: int) -> Person:
        """Return a person, 0 to `identities` - 1. People beyond exist too, but are not packed."""
        return _person(self.seed, identity, self.image_size, self.appearance)

    def video(self, identity: int, video: int) -> Video:
        """Return a video of a person."""
        return Video(self, identity, video)


class Person:
    """One person: face, look and habits."""

    def __init__(
        self, random: np.random.Generator, image_size: int, config: AppearanceConfig
    ) -> None:
        face, painted, tends, skin = random.spawn(4)
        self.head = Head.load()
        self.face = self.head.identity(face)
        self.habit = habits(tends)
        self.wrinkles = skin.random() * (0.6 + 1.1 * self.face.age)
        self._painted, self._config = painted, config
        self._texels = 512 if image_size <= 160 else 1024

    @cached_property
    def look(self) -> Look:
        """The person's looks, painted on first use."""
        return Look(self._painted, self.face, self._texels, self._config)


class State(NamedTuple):
    """A person's expression and pose at one moment, and the crop of the picture.

    Attributes:
        intensities: (21, 2) of the action units, left and right side of the person, in [0, 1].
        gaze: (2,) radians to the right of the picture and down.
        attitude: (3,) yaw, pitch and roll of the head in degrees, before the crop turns it.
        crop: (2, 3) matrix from the plane of the camera to shares of the crop's side.
        place: (2,) place of the head in the room, as shares of the crop's side.
        hand: How far a hand is raised, from 0 (out of the picture) to 1 (at the face).
    """

    intensities: Array
    gaze: Array
    attitude: Array
    crop: Array
    place: Array
    hand: float = 0.0

    def acting_as(self, other: State) -> State:
        """Return this pose with the facial action of `other`."""
        return self._replace(intensities=other.intensities, gaze=other.gaze)

    @property
    def pose(self) -> Array:
        """(3,) yaw, pitch and roll in the crop, in degrees."""
        turn = np.degrees(np.arctan2(self.crop[1, 0], self.crop[0, 0]))
        return self.attitude + np.array([0, 0, turn])


class Video:
    """One video of one person.

    Args:
        world: The world of the person.
        identity: Number of the person.
        video: Number of the video among the person's videos.
    """

    def __init__(self, world: World, identity: int, video: int) -> None:
        self.world, self._key = world, (identity, video)
        self.person = world.person(identity)
        self._random = self._streams()
        random, config = self._random, world
        self.times = np.arange(world.frames) / world.fps
        self._intensities = perform(random["act"], self.times, self.person.habit, config.expression)
        self._attitude = head_motion(random["turn"], self.times, config.motion)
        self._gaze = gaze(random["look"], self.times, self._attitude, config.motion)
        self._place = room_motion(random["sway"], self.times, config.motion)
        self._jitter = crop_jitter(random["jitter"], self.times, config.camera)
        self._raised = hand_motion(random["hand"], self.times)

    def __len__(self) -> int:
        return len(self.times)

    def state(self, frame: int) -> State:
        """Return the state in a frame."""
        act, look_at, attitude = (
            self._intensities[frame], self._gaze[frame], self._attitude[frame]
        )  # fmt: skip
        crop = self._crop(act, look_at, attitude, self._jitter[frame])
        raised = float(self._raised[frame])
        return State(act, look_at, attitude, crop, self._place[frame], raised)

    def neutral(self) -> State:
        """Return the state of the face at rest, from the front."""
        nothing = np.zeros_like(self._intensities[0])
        return State(nothing, np.zeros(2), np.zeros(3), self._still, np.zeros(2))

    def scene(self, state: State) -> Picture:
        """Return the picture (S, S, 3) uint8 of a state without the camera's faults."""
        view = self.view(state)
        return render(
            self.person.head,
            view,
            self._surface,
            self._light,
            self._behind_head(state, view),
            strengths(state.intensities, self.person.wrinkles),
            self._before_head(state),
        )

    def picture(self, state: State, frame: int) -> Picture:
        """Return the picture (S, S, 3) uint8 of a state with the camera's faults in a frame."""
        random = _random(self.world.seed, _FRAME, *self._key, frame)
        return self._sensor.take(self.scene(state), random, self._motion[frame])

    def view(self, state: State) -> View:
        """Return the view of the mesh in the crop."""
        person = self.person
        shape = person.head.expression(person.look.vertices, state.intensities, state.gaze)
        return look(person.head, shape, _pose(state.attitude), self._camera(state))

    def flow(self, source: State, target: State) -> Flow:
        """Return the exact backward flow from one state to another, in pixels."""
        size = self.world.image_size
        views = self.view(source), self.view(target)
        before = self._before_head(source), self._before_head(target)
        return exact_flow(self.person.head, *views, size, size, *before)

    def points(self, state: State) -> Array:
        """Return the points (5, 2) of `tcae.data.align.POINT_NAMES` in pixels of the crop."""
        return _points(self.view(state).pixels[_point_vertices()])

    def _crop(self, act: Array, look_at: Array, attitude: Array, jitter: Array) -> Array:
        person = self.person
        shape = person.head.expression(person.face.vertices, act, look_at)
        few = _point_vertices()
        stays = person.head.masks["trunk"][few]
        points = _points(view_of(shape[few], stays, _pose(attitude), _PLANE).pixels)
        return crop_matrix(points, jitter, DEFAULT_TEMPLATE, self.world.camera.upright)

    def _camera(self, state: State) -> Camera:
        size = self.world.image_size
        crop = state.crop * size
        crop[:, 2] -= 0.5
        return Camera(crop=crop.astype(np.float32))

    def _before_head(self, state: State) -> SolidView | None:
        """Return the view of what hides parts of the head."""
        return self._occluders.view(state.hand, _pose(state.attitude), self._camera(state))

    def _behind_head(self, state: State, view: View) -> Picture:
        """Return the room as the crop shows it, and the part of the body that the mesh lacks."""
        still = np.vstack([self._still, [0, 0, 1]])
        moved = state.crop @ np.linalg.inv(still)
        moved[:, 2] -= moved[:, :2] @ state.place
        picture = self._background.cut(moved)
        brightness = self._light.ambient[0] + 0.5 * self._light.colours.sum(0)
        draw_body(picture, view.pixels[_shoulders()], self._dressed[1] * np.sqrt(brightness))
        return picture

    def _streams(self) -> dict[str, np.random.Generator]:
        """Return the random numbers of each thing in the video, from their start."""
        streams = _random(self.world.seed, _VIDEO, *self._key).spawn(len(_STREAMS))
        return dict(zip(_STREAMS, streams, strict=True))

    @cached_property
    def _motion(self) -> Array:
        """(T, 2) motion of the face to the right and down, in sides of the crop a second."""
        config = self.world
        if config.camera.shutter == 0:
            return np.zeros((len(self.times), 2))
        before, after = (
            (head_motion(random["turn"], times, config.motion)[:, :2],
             room_motion(random["sway"], times, config.motion))
            for random, times in ((self._streams(), t) for t in (self.times, self.times + _MOMENT))
        )  # fmt: skip
        side = np.hypot(*self._still[0, :2])  # sides of the crop in a head unit
        turned, moved = ((b - a) / _MOMENT for a, b in zip(before, after, strict=True))
        return np.asarray(np.radians(turned) * _LEVER * side + moved)

    @cached_property
    def _still(self) -> Array:
        """The crop of the neutral face, from the front."""
        nothing = np.zeros_like(self._intensities[0])
        return self._crop(nothing, np.zeros(2), np.zeros(3), np.zeros(4))

    @cached_property
    def _dressed(self) -> tuple[Picture, Array]:
        return self.person.look.dressed(self._random["clothes"])

    @cached_property
    def _surface(self) -> Surface:
        texture = self._dressed[0]
        return Surface(texture, wrinkle_maps(len(texture)))

    @cached_property
    def _occluders(self) -> Occluders:
        person, cloth = self.person, self._dressed[1]
        random = self._random["occluders"]
        return Occluders(random, person.head, person.look, cloth, self.world.occluders)

    @cached_property
    def _light(self) -> Light:
        return light(self._random["light"], self.world.setting)

    @cached_property
    def _background(self) -> Background:
        return Background(self._random["room"], self.world.image_size, self.world.setting)

    @cached_property
    def _sensor(self) -> Sensor:
        return Sensor(self._random["sensor"], self.world.image_size, self.world.camera)


_SHOULDERS = np.array(  # the outline of the mesh's lower end, in head units
    [[-2.39, -2.71, -1.83], [-1.84, -2.5, -2.1], [-0.8, -2.42, -2.45],
     [0.8, -2.42, -2.45], [1.84, -2.5, -2.1], [2.39, -2.71, -1.83]]
)  # fmt: skip


@cache
def _shoulders() -> NDArray[np.intp]:
    """Return the vertices nearest to `_SHOULDERS`."""
    away = np.linalg.norm(Head.load().vertices[:, None] - _SHOULDERS, axis=2)
    return np.asarray(away.argmin(0))


def identity_name(identity: int) -> str:
    """Return the name of a person in packed data sets."""
    return f"p{identity:06d}"


_PLANE = Camera(crop=np.array([[1, 0, 0], [0, 1, 0]], np.float32))


def _pose(attitude: Array) -> Pose:
    yaw, pitch, roll = np.radians(attitude).tolist()
    return Pose(yaw, pitch, roll)


@cache
def _point_vertices() -> NDArray[np.intp]:
    """Return the vertices of `_points`: corners of the right eye and the left, nose, mouth."""
    names = ("right_outer_eye", "right_inner_eye", "left_outer_eye", "left_inner_eye", "nose_tip",
             "right_mouth", "left_mouth")  # fmt: skip
    return np.array([Head.load().landmarks[name] for name in names])


def _points(pixels: NDArray[np.floating]) -> Array:
    """Return the five points that face detectors give, from those of `_point_vertices`."""
    at = pixels.astype(np.float64)
    return np.array([(at[0] + at[1]) / 2, (at[2] + at[3]) / 2, *at[4:]])


@lru_cache(maxsize=4)
def _person(seed: int, identity: int, image_size: int, config: AppearanceConfig) -> Person:
    return Person(_random(seed, _PERSON, identity), image_size, config)


def _random(*stream: int) -> np.random.Generator:
    """Return random numbers for one thing in a world."""
    return np.random.default_rng(stream)
