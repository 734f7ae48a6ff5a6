"""The pages as somebody sees them: in Chromium, on a desktop and on a phone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tcae import show
from tcae.evaluation.disentanglement import GOALS
from tcae.evaluation.estimates import Estimate
from tcae.report.html import RunReport, render_report

FPS, FRAMES = 10, 40
DESKTOP, PHONE = (1280, 800), (375, 700)

each_width = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, filmed: Callable[..., Any]) -> Path:
    """Folder with the results for a video of a rendered person, `talk.mp4`, and `face.png`.

    AU12 is on from 1 to 2 s, highest at 1.5 s; AU45 is never known of face 1, who comes at 2 s.
    """
    folder = tmp_path_factory.mktemp("shown")
    film = filmed(0, 10)
    with av.open(str(folder / "talk.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height = 320, 240
        for k in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(film[k % 10][0], "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    head = "file,frame,timestamp,face_id,success,face_x,face_y,face_w,face_h,"
    rows: list[list[object]] = [(head + "AU12_c,AU12_p,AU12_r,AU45_p,yaw").split(",")]
    for k in range(FRAMES):
        time = k / FPS
        smile = max(0.0, 1 - abs(time - 1.5) * 0.8)
        box = [110, 60, 100, 120]
        rows.append(
            [
                "talk.mp4",
                k,
                time,
                0,
                1,
                *box,
                int(1 <= time <= 2),
                smile,
                4 * smile,
                0.25,
                10 * time,
            ]
        )
        if time >= 2:
            rows.append(["talk.mp4", k, time, 1, 1, 0, 0, 50, 60, 0, 0.125, 0, "", -10])
    with open(folder / "talk.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    cv2.imwrite(str(folder / "face.png"), film[0][0][..., ::-1])
    with open(folder / "face.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [rows[0], ["face.png", *rows[16][1:]], ["face.png", *rows[30][1:]]]
        )
    for name in ("talk.mp4", "face.png"):
        words = [str(folder / name), str(folder / name.split(".")[0]) + ".csv"]
        assert show.main([*words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def opened(open_page: Callable[..., Any]) -> Callable[..., Any]:
    """Function that opens a page, offline, in a window of some size."""

    def open_file(path: Path, size: tuple[int, int] = DESKTOP, **options: Any) -> Any:
        made = open_page(path.as_uri(), size, offline=True, **options)
        if "<video" in path.read_text():
            made.wait("document.querySelector('video').readyState >= 2")
        return made

    return open_file


def video(found: Any, name: str) -> float:
    return float(found.page.evaluate(f"document.querySelector('video').{name}"))


def curve(page: Any, words: str) -> Any:
    return page.locator(".strip", has_text=words).locator(".u-over")


@each_width
def test_nothing_is_loaded_nothing_complains_and_nothing_sticks_out(shown, opened, size) -> None:
    for name in ("talk.html", "face.html"):
        found = opened(shown / name, size, color_scheme="dark")
        addresses = [url for url in found.requests if not url.startswith(("blob:", "data:"))]
        assert addresses == [(shown / name).as_uri()]
        assert found.complaints == []
        assert found.page.evaluate("document.documentElement.scrollWidth") <= size[0]


@each_width
def test_the_report_of_a_run_fits_too(opened, tmp_path, size) -> None:
    names = ["source", "AU changed", "truth: AU changed", "AU flow", "truth: AU flow", "AU mask"]
    pair = dict.fromkeys(names, np.zeros((64, 64, 3), np.uint8))
    scores = ("prevalence", "f1", "f1_low", "f1_high", "auc", "auc_low", "auc_high")
    unit = {"unit": "AU15"} | dict.fromkeys(scores, 0.75)
    measures = {name: Estimate(0.5, 0.25, 0.75) for name in GOALS}
    report = RunReport("a" * 99, "", measures, {"steps": 1.0}, [pair] * 6, units=[unit])
    (tmp_path / "report.html").write_text(render_report(report))
    found = opened(tmp_path / "report.html", size)
    assert found.complaints == [] and len(found.requests) == 1
    assert found.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    pictures = found.page.locator(".pair img:visible").all()
    assert min(picture.bounding_box()["width"] for picture in pictures) > 95
    heads = found.page.locator("thead:visible").count()
    assert heads == (2 if size == DESKTOP else 0)


@each_width
def test_the_video_is_shown_whole_without_the_bars_beside_it(shown, opened, size) -> None:
    box = opened(shown / "talk.html", size).page.locator("video").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(320 / 240, rel=0.01)
    assert box["height"] <= 0.6 * size[1]


@each_width
def test_a_click_on_a_curve_takes_the_video_there(shown, opened, size) -> None:
    found = opened(shown / "talk.html", size)
    assert video(found, "duration") == pytest.approx(FRAMES / FPS, abs=0.02)
    over = curve(found.page, "lip corner puller")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    for share in (0.75, 0.25):
        over.click(position={"x": box["width"] * share, "y": 20})
        wanted = share * FRAMES / FPS
        assert video(found, "currentTime") == pytest.approx(
            wanted, abs=FRAMES / FPS / box["width"] * 2
        )
        found.wait("!document.querySelector('video').seeking")
        now = curve(found.page, "blink").locator(".now").bounding_box()
        assert now["x"] + now["width"] / 2 == pytest.approx(box["x"] + box["width"] * share, abs=2)


def test_the_cursor_follows_the_playing_video(shown, opened) -> None:
    found = opened(shown / "talk.html")
    now = curve(found.page, "blink").locator(".now")
    before = now.bounding_box()["x"]
    found.page.evaluate("const v = document.querySelector('video'); v.muted = true; v.play()")
    found.wait("document.querySelector('video').currentTime > 0.5")
    found.page.evaluate("document.querySelector('video').pause()")
    found.page.wait_for_timeout(100)
    box = curve(found.page, "blink").bounding_box()
    share = video(found, "currentTime") / (FRAMES / FPS)
    assert now.bounding_box()["x"] - before == pytest.approx(box["width"] * share, abs=4)


def test_values_and_names_of_the_moment(shown, opened) -> None:
    found = opened(shown / "talk.html")
    strip = found.page.locator(".strip", has_text="lip corner puller")
    found.page.evaluate("seek(1.5)")
    assert strip.inner_text().split() == ["AU12", "lip", "corner", "puller", "1.00", "–"]
    found.page.evaluate("seek(3)")
    assert strip.inner_text().split()[-2:] == ["0.00", "0.13"]
    assert found.page.locator(".strip", has_text="yaw").inner_text().split()[-2:] == ["30", "-10"]
    rounded = "[-0.3, -0.6, 0].map((value) => rounded(value, 0))"
    assert found.page.evaluate(rounded) == ["0", "-1", "0"]


def test_curves_show_intensities_too(shown, opened) -> None:
    found = opened(shown / "talk.html")
    strip = found.page.locator(".strip", has_text="lip corner puller")
    found.page.evaluate("seek(1.5)")
    for name, value, most in (("intensity", "4.00", 5), ("probability", "1.00", 1)):
        found.page.get_by_role("button", name=name).click()
        assert strip.inner_text().split()[4] == value
        assert found.page.evaluate("strips[1].u.scales.y.max") == most
        assert found.page.evaluate("strips[1].u.scales.x.max") == pytest.approx(
            FRAMES / FPS, abs=0.02
        )
    assert found.complaints == []


def test_events_lead_to_their_peak(shown, opened) -> None:
    found = opened(shown / "talk.html")
    [line] = found.page.locator("#events tr").all()
    assert line.inner_text().split("\t") == [
        "0:01.5", "AU12 lip corner puller", "face 0", "0:01.0", "0:02.0", "1.00",
    ]  # fmt: skip
    line.locator("button").click()
    assert video(found, "currentTime") == pytest.approx(1.5)


def test_a_face_can_be_hidden_and_frames_stepped_through(shown, opened) -> None:
    found = opened(shown / "talk.html")
    found.page.get_by_role("button", name="face 0").click()
    assert found.page.locator("#events tr").count() == 0
    assert found.page.locator("#none").is_visible()
    assert not found.page.locator("#more").is_visible()
    found.page.keyboard.press("ArrowRight")
    found.page.keyboard.press("ArrowRight")
    assert video(found, "currentTime") == pytest.approx(2 / FPS, abs=1e-3)
    found.page.keyboard.press("ArrowLeft")
    assert video(found, "currentTime") == pytest.approx(1 / FPS, abs=1e-3)


def test_faces_are_told_apart_without_colours(shown, opened) -> None:
    found = opened(shown / "talk.html")
    dashes = found.page.evaluate(
        "strips.slice(1).map(({ u }) => u.series.slice(1).map((s) => s.dash))"
    )
    assert all(first != second for first, second in dashes)


def test_the_table_can_be_saved(shown, opened) -> None:
    for name in ("talk", "face"):
        found = opened(shown / f"{name}.html")
        with found.page.expect_download() as download:
            found.page.get_by_role("link", name="Table as CSV").click()
        assert download.value.suggested_filename == f"{name}.csv"
        rows = [list(csv.reader(path.open())) for path in
                (Path(download.value.path()), shown / f"{name}.csv")]  # fmt: skip
        assert rows[0] == rows[1] and len(rows[0]) > 2


def test_a_long_video_lies_beside_its_page(shown, opened, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tcae.report.video_page.MOST_FILM", 0)
    monkeypatch.setattr("tcae.report.video_page.MOST_POINTS", 16)
    words = [str(shown / "talk.mp4"), str(shown / "talk.csv"), "--out", str(tmp_path)]
    assert show.main(words) == 0
    found = opened(tmp_path / "talk.html")
    assert found.requests[1:] == [(tmp_path / "talk-faces.mp4").as_uri()] * (
        len(found.requests) - 1
    )
    assert found.complaints == []
    assert "the largest value, for every 5 frames" in found.page.locator("footer").inner_text()
    highest = found.page.evaluate("Math.max(...data.views[0].strips[0].curves[0])")
    assert highest == pytest.approx(1.0)


def test_letters_on_a_phone_are_large_enough_and_buttons_too(shown, opened) -> None:
    found = opened(shown / "talk.html", PHONE, is_mobile=True, has_touch=True)
    sizes = found.page.evaluate(
        "[...document.querySelectorAll('p, b, span, td, th, button, a')].filter(e => e.innerText)"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11
    for button in found.page.locator("main button:visible, main select").all():
        assert button.bounding_box()["height"] >= 28


def test_text_can_be_read_in_light_and_dark(shown, opened) -> None:
    """Contrast of at least 4.5, as the guidelines of the web want it (WCAG 2, level AA)."""
    for scheme in ("light", "dark"):
        found = opened(shown / "talk.html", color_scheme=scheme)
        for names in (("--ink", "--card"), ("--dim", "--card"), ("--dim", "--paper")):
            found_levels = (luminance(found.page.evaluate(f"colour('{n}')")) for n in names)
            dark, light = sorted(found_levels)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, names)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    levels = np.array([int(digits[k : k + 2], 16) for k in (0, 2, 4)]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
