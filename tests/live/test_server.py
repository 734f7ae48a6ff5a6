from __future__ import annotations

import base64
import json
import socket

import cv2
import numpy as np
import pytest

pytest.importorskip("werkzeug")
from werkzeug.test import Client

from tcae.data.pictures import encode_jpeg
from tcae.editing.editor import FaceEditor
from tcae.live import answers as answers_module
from tcae.live import server


@pytest.fixture
def client(answers) -> Client:
    return Client(server.Application(answers))


@pytest.fixture
def opened(client, files) -> dict:
    """What is told of face.png."""
    return client.post("/pictures", data=(files / "face.png").read_bytes()).json


def test_the_page_names_what_it_shows(client) -> None:
    response = client.get("/")
    assert response.status_code == 200 and response.mimetype == "text/html"
    assert "lip corner puller" in response.text and "synthetic-64" in response.text
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8765"}, 200),
        ({"Host": "127.0.0.1:9", "Origin": "http://127.0.0.1:9"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8765", "Origin": "http://evil.example:8765"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
)
def test_other_sites_get_nothing(client, headers, status) -> None:
    for response in (client.get("/", headers=headers), client.post("/x", headers=headers)):
        assert (response.status_code == 403) == (status == 403)
        assert "Access-Control-Allow-Origin" not in response.headers
    if status == 403:
        assert "is needed" in response.json["error"]


def test_frames_are_read_and_not_kept(client, files) -> None:
    told = client.post("/frames", data=(files / "two.png").read_bytes()).json
    assert (told["width"], told["height"]) == (440, 240)
    large, small = told["faces"]
    assert large["box"][0] < 320 < small["box"][0] and large["box"][2] > small["box"][2]
    assert len(large["probabilities"]) == len(large["present"]) == 21
    assert "key" not in told and "picture" not in told


def test_a_picture_comes_back_as_the_page_can_show_it(opened, files) -> None:
    kind, _, content = opened["picture"].partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - cv2.imread(str(files / "face.png"))).mean() < 2


def test_edits_are_those_of_the_editor(client, opened, files) -> None:
    editor = FaceEditor.load("synthetic-64")
    rgb = np.ascontiguousarray(cv2.imread(str(files / "face.png"))[..., ::-1])
    portrait = editor.portrait(rgb, np.array(opened["faces"][0]["points"]))
    place = f"/pictures/{opened['key']}/faces/0"
    told = client.get(place).json
    assert told["aus"] == pytest.approx(portrait.aus)
    assert told["pose"] == pytest.approx(portrait.pose)
    for aus, pose in (({"AU12": 1.0}, None), ({}, [0.0, 15.0, 3.0]), ({}, None)):
        response = client.post(place, data=json.dumps({"aus": aus, "pose": pose}))
        assert response.mimetype == "image/jpeg"
        assert response.data == encode_jpeg(editor(portrait, aus, pose))


def test_sliders_are_of_the_face_that_was_chosen(client, files) -> None:
    told = client.post("/pictures", data=(files / "two.png").read_bytes()).json
    rgb = np.ascontiguousarray(cv2.imread(str(files / "two.png"))[..., ::-1])
    editor = FaceEditor.load("synthetic-64")
    for number, face in enumerate(told["faces"]):
        portrait = editor.portrait(rgb, np.array(face["points"]))
        sliders = client.get(f"/pictures/{told['key']}/faces/{number}").json
        assert sliders["aus"] == pytest.approx(portrait.aus)
    assert number == 1


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ('{"aus": {"AU99": 1}, "pose": null}', "AU99: unknown unit"),
        ('{"aus": {"AU12": 2}, "pose": null}', "an intensity is from 0 to 1"),
        ('{"aus": {"AU12": NaN}, "pose": null}', "finite numbers are needed"),
        ('{"aus": {"AU12": "much"}, "pose": null}', "numbers are needed"),
        ('{"aus": {}, "pose": [1, 2]}', "pitch, yaw and roll"),
        ('{"aus": {}, "pose": [1, 2, Infinity]}', "finite numbers are needed"),
        ('{"aus": {}, "pose": 0}', "numbers are needed"),
        ('{"aus": {"AU12": 1' + 400 * "0" + '}, "pose": null}', "numbers are needed"),
        ('{"aus": 1, "pose": null}', "an edit is JSON such as"),
        ("[]", "an edit is JSON such as"),
        ("smile", "an edit is JSON such as"),
        ("", "an edit is JSON such as"),
    ],
)
def test_wrong_wishes_are_a_line(client, opened, wishes, words) -> None:
    response = client.post(f"/pictures/{opened['key']}/faces/0", data=wishes)
    assert response.status_code == 400 and words in response.json["error"]


def test_what_is_not_there_is_a_line(client, opened) -> None:
    for path, words in (
        (f"/pictures/{opened['key']}/faces/1", "face 1: the picture has 1 faces"),
        ("/pictures/nokey/faces/0", "not kept any more; open it again"),
        ("/etc/passwd", "not found"),
    ):
        response = client.get(path)
        assert response.status_code == 404 and words in response.json["error"]
    assert client.get("/frames").status_code == 405


def test_the_pictures_seen_last_are_kept(client, opened, files, monkeypatch) -> None:
    monkeypatch.setattr(answers_module, "_KEPT", 2)
    first = opened["key"]
    content = (files / "none.png").read_bytes()
    second = client.post("/pictures", data=content).json["key"]
    assert client.get(f"/pictures/{first}/faces/0").status_code == 200  # seen last now
    client.post("/pictures", data=content)
    assert client.get(f"/pictures/{first}/faces/0").status_code == 200
    assert "not kept" in client.get(f"/pictures/{second}/faces/0").json["error"]


def test_bad_files_are_a_line(client, files) -> None:
    for path in ("/frames", "/pictures"):
        response = client.post(path, data=(files / "broken.png").read_bytes())
        assert response.status_code == 400
        assert response.json == {"error": "cannot be read as a picture"}


def test_a_file_that_is_too_large_is_not_read(client) -> None:
    for claimed, status in ((64_000_001, 413), (64_000_000, 400)):
        claim = {"CONTENT_LENGTH": str(claimed)}
        response = client.post("/frames", data=b"no picture", environ_overrides=claim)
        assert response.status_code == status


def test_a_neutral_face_comes_with_a_picture(client, opened, files) -> None:
    content = (files / "face.png").read_bytes()
    [face] = opened["faces"]
    neutral = ",".join(map(str, face["logits"]))
    [levelled] = client.post(f"/frames?neutral={neutral}", data=content).json["faces"]
    assert sum(levelled["probabilities"]) != pytest.approx(sum(face["probabilities"]), abs=0.01)
    for text in ("1,2", "x", "", ",".join(["nan"] * 21)):
        response = client.post(f"/frames?neutral={text}", data=content)
        assert response.status_code == 400 and "needed" in response.json["error"]


def test_only_this_computer_is_heard() -> None:
    with server.listen(0) as heard:
        address, port = heard.getsockname()
        assert address == "127.0.0.1"
        assert server.address_of(heard) == f"http://127.0.0.1:{port}/"
        with pytest.raises(
            ValueError, match=f"--port {port}: Address already in use; 0 takes one that is free"
        ):
            server.listen(port)
        with socket.socket() as other, pytest.raises(OSError):
            other.connect(("127.0.0.2", port))


def test_no_such_port() -> None:
    with pytest.raises(ValueError, match="--port 70000: a port is from 0 to 65535"):
        server.listen(70000)
