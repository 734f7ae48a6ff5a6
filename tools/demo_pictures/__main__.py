"""Draw the pictures of docs/demo.md: the page of `tcae demo` in Chromium, with a rendered person.

    python tools/demo_pictures     # writes docs/demo-desktop.jpg and docs/demo-phone.jpg

The weights were not fitted to this person, who was picked by eye.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

from tcae.data.synthetic.camera import CameraConfig
from tcae.data.synthetic.world import World
from tcae.live.answers import Answers
from tcae.live.server import Application, address_of, listen, serve

ROOT = Path(__file__).resolve().parents[2]
_CLEAN = CameraConfig(blur=0, coarse=0, noise=0, exposure=0, tint=0, compression=100)
_PERSON = 16
_WINDOWS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 1010}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
_WISHES = {"yaw": 12.0, "AU01": 0.8, "AU02": 0.8, "AU06": 0.7, "AU12": 1.0}


def person() -> NDArray[np.uint8]:
    """Return a rendered person at rest."""
    video = World(image_size=480, seed=5, camera=_CLEAN).video(_PERSON, 0)
    scene = video.scene(video.neutral())
    return np.asarray(scene)


def draw(browser: Any, address: str, picture: Path, name: str, folder: Path) -> None:
    """Draw what the page looks like in a window once sliders have been moved."""
    page = browser.new_page(**_WINDOWS[name], device_scale_factor=1.25)
    page.goto(address)
    page.set_input_files("#file", picture)
    for slider, value in _WISHES.items():
        page.locator(f"[data-name={slider}] input:enabled").fill(str(value))
        page.wait_for_timeout(1000)
    page.screenshot(path=folder / f"demo-{name}.jpg", type="jpeg", quality=85)
    page.close()


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder to write to")
    folder = parser.parse_args().out
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        listen(0) as heard,
        tempfile.TemporaryDirectory() as temporary,
        sync_playwright() as driver,
    ):
        picture = Path(temporary) / "person.png"
        cv2.imwrite(str(picture), cv2.cvtColor(person(), cv2.COLOR_RGB2BGR))
        application = Application(Answers())
        threading.Thread(target=serve, args=(application, heard), daemon=True).start()
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        for name in _WINDOWS:
            draw(browser, address_of(heard), picture, name, folder)
        browser.close()


if __name__ == "__main__":
    main()
