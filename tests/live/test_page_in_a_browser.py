"""The page of `tcae demo` as somebody uses it: in Chromium, on a desktop and on a phone."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tcae

DESKTOP, PHONE = (1280, 800), (390, 844)

each_width = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


class Demo:
    """The page, opened: what is on it."""

    def __init__(self, opened: Any) -> None:
        self.page, self.requests, self.complaints = opened
        self.wait = opened.wait

    def open(self, path: Path) -> None:
        self.page.set_input_files("#file", path)

    def bar(self, name: str) -> str:
        return str(self.page.locator(f"[data-name={name}] .read").inner_text())

    def slider(self, name: str) -> Any:
        return self.page.locator(f"[data-name={name}] input:enabled")

    def rest(self) -> None:
        """Wait until every edit is done and read, and none is to come."""
        self.wait("!editing && !again && !$('status').textContent.endsWith('…')")

    def says(self, words: str) -> None:
        self.page.locator("#status", has_text=words).wait_for()


@pytest.fixture(scope="module")
def camera(start_browser: Callable[..., Any], files: Path) -> Iterator[Any]:
    """A browser with a camera that sees a rendered person."""
    started = start_browser(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={files / 'camera.mjpeg'}",
    )
    yield started
    started.close()


@pytest.fixture
def opened(open_page: Callable[..., Any], address: str) -> Callable[..., Demo]:
    """Function that opens the page in a window of some size."""
    return lambda size=DESKTOP, **options: Demo(open_page(address, size, **options))


@each_width
def test_a_picture_moves_bars_and_sliders_move_the_face(opened, files, address, size) -> None:
    found = opened(size, color_scheme="dark")
    assert found.page.locator("input:visible").count() == 0
    found.open(files / "face.png")
    found.slider("AU12").wait_for()
    [row] = [row for _, row in tcae.analyse(files / "face.png").iterrows()]
    for unit in ("AU01", "AU12", "AU45"):
        assert found.bar(unit) == f"{row[f'{unit}_p']:.2f}"
    assert int(found.bar("yaw")) == round(row["yaw"])
    before, smile = found.page.locator("#picture").get_attribute("src"), float(found.bar("AU12"))
    found.slider("AU12").fill("1")
    found.rest()
    assert found.page.locator("#picture").get_attribute("src") != before
    assert float(found.bar("AU12")) > smile + 0.2
    found.slider("yaw").fill(f"{row['yaw'] + 20}")
    found.rest()
    assert int(found.bar("yaw")) > row["yaw"] + 5
    found.page.get_by_role("button", name="Reset sliders").click()
    found.rest()
    assert float(found.bar("AU12")) == smile
    assert found.complaints == []
    assert all(url.startswith((address, "blob:", "data:")) for url in found.requests)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_picture_stays_in_sight_on_a_phone(opened, files) -> None:
    found = opened(PHONE, is_mobile=True, has_touch=True)
    found.open(files / "face.png")
    found.slider("roll").scroll_into_view_if_needed()
    picture, slider = (
        found.page.locator(name).bounding_box() for name in ("#picture", "[data-name=roll] input")
    )
    assert picture["y"] >= 0 and slider["y"] > picture["y"] + picture["height"]
    assert picture["height"] < PHONE[1] / 2
    for button in found.page.locator("button:visible").all():
        assert button.bounding_box()["height"] >= 28
    assert slider["height"] >= 28


def test_all_works_without_a_mouse(opened, files) -> None:
    found = opened()
    # Before the keys, for it takes effect a little later.
    found.page.on("filechooser", lambda chooser: chooser.set_files(files / "face.png"))
    found.page.wait_for_timeout(100)
    found.page.keyboard.press("Tab")
    found.page.keyboard.press("Enter")
    found.slider("AU12").wait_for()
    found.slider("AU12").focus()
    before = float(found.slider("AU12").input_value())
    found.page.keyboard.press("ArrowRight")
    assert float(found.slider("AU12").input_value()) == pytest.approx(before + 0.01)
    found.rest()
    assert found.page.locator(".row.asked").count() == 1
    names = found.page.evaluate(
        "[...document.querySelectorAll('main :is(input[type=range], [role=meter])')]"
        ".map((e) => e.ariaLabel)"
    )
    assert len(set(names)) == len(names) == 2 * 24 and all(names)


def test_a_picture_can_be_dropped(opened, files) -> None:
    found = opened()
    content = base64.b64encode((files / "face.png").read_bytes()).decode()
    found.page.evaluate(
        """(content) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "face.png", { type: "image/png" }));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }""",
        content,
    )
    found.slider("AU12").wait_for()
    assert found.complaints == []


def test_a_face_of_several_is_chosen(opened, files) -> None:
    found = opened()
    found.open(files / "two.png")
    found.slider("AU12").wait_for()
    rows = [row for _, row in tcae.analyse(files / "two.png").iterrows()]
    assert found.bar("AU12") == f"{rows[0]['AU12_p']:.2f}"
    found.page.get_by_role("button", name="face 1").click()
    found.wait("still.number === 1")
    assert found.bar("AU12") == f"{rows[1]['AU12_p']:.2f}"
    found.slider("AU12").fill("1")
    found.rest()
    assert float(found.bar("AU12")) > rows[1]["AU12_p"]
    assert found.page.locator("#faces [aria-pressed=true]").inner_text() == "face 1"
    found.page.locator("#marks rect").nth(0).click()
    found.wait("still.number === 0")
    found.rest()
    assert found.bar("AU12") == f"{rows[0]['AU12_p']:.2f}"


def test_a_neutral_face_is_taken_off(opened, files) -> None:
    found = opened()
    found.open(files / "face.png")
    found.slider("AU12").wait_for()
    before = found.page.locator(".read").all_inner_texts()
    button = found.page.get_by_role("button", name="This is my neutral face")
    button.click()
    [row] = tcae.analyse(files / "face.png", neutral=files / "face.png").to_dict("records")
    found.page.wait_for_timeout(50)
    found.wait(f"rows.get('AU01').querySelector('.read').textContent === '{row['AU01_p']:.2f}'")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    found.page.locator("#neutral[aria-pressed=false]").wait_for()
    now = "[...document.querySelectorAll('.read')].map((e) => e.innerText).join()"
    found.wait(f"{now} === '{','.join(before)}'")
    assert found.complaints == []


@each_width
def test_a_video_moves_bars_and_a_moment_of_it_is_edited(opened, files, size) -> None:
    found = opened(size)
    found.open(files / "talk.mp4")
    seen = set()
    for _ in range(400):
        seen.add((found.bar("AU12"), found.bar("yaw")))
        if len(seen) > 4:
            break
        found.page.wait_for_timeout(50)
    assert len(seen) > 4
    assert found.page.locator("input:visible").count() == 0
    found.page.evaluate("video.pause()")
    found.page.get_by_role("button", name="Edit this moment").click()
    found.slider("AU12").wait_for()
    found.slider("AU12").fill("1")
    found.rest()
    assert found.page.locator("#video:visible").count() == 0
    found.page.get_by_role("button", name="Back to the video").click()
    found.page.locator("#video").wait_for()
    found.wait("video.currentTime > 0 && answer !== null")
    assert found.complaints == []
    assert found.page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_camera_moves_bars(opened, camera) -> None:
    found = opened(by=camera)
    found.page.get_by_role("button", name="Use the camera").click()
    found.wait("answer?.faces.length === 1")
    assert found.bar("AU12") != "–"
    found.page.evaluate("window.track = video.srcObject.getTracks()[0]; 0")
    found.page.get_by_role("button", name="Edit this moment").click()
    found.slider("AU12").wait_for()
    assert found.page.evaluate("window.track.readyState") == "ended"  # the camera is off
    found.page.get_by_role("button", name="Back to the camera").click()
    found.wait("video.srcObject?.active && answer?.faces.length === 1")
    assert found.complaints == []


def test_what_does_not_work_is_a_line(opened, files) -> None:
    found = opened()
    for error, words in (
        ("NotAllowedError", "The camera was not allowed"),
        ("NotFoundError", "There is no camera."),
    ):
        found.page.evaluate(
            "(name) => { navigator.mediaDevices.getUserMedia = async () => "
            "{ throw new DOMException('', name); } }",
            error,
        )
        found.page.get_by_role("button", name="Use the camera").click()
        found.says(words)
    for name, words in (
        ("talk.avi", "talk.avi: this browser cannot play it; try: tcae show talk.avi"),
        ("broken.png", "broken.png: cannot be read as a picture"),
        ("none.png", "No face was found."),
    ):
        found.open(files / name)
        found.says(words)
        assert found.page.locator("input:enabled:visible").count() == 0
        assert found.bar("AU12") == "–"
    found.open(files / "face.png")
    found.slider("AU12").wait_for()
    found.page.route("**/faces/0", lambda route: route.abort())
    found.slider("AU12").fill("1")
    found.says("tcae demo does not answer; was it stopped?")
