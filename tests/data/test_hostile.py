"""Files that somebody made to run code or to have other files read: neither happens."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tcae.data.video import VideoError, estimated_frames, read_frames


class Order:
    """Its pickle is the order to make a directory."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


# A process that reads a packed set and its labels, and tells of everything that Python did
# meanwhile to run code. A first reading of harmless files loads what is loaded late.
READER = """
    import sys
    from pathlib import Path
    from tcae.data.labels import read_labels
    from tcae.data.packing import packed_videos
    from tcae.data.shards import PackedDataset
    from tcae.data.verify import verify

    def read(path):
        for action in (
            lambda: verify(path),
            lambda: packed_videos(path),
            lambda: [PackedDataset(path).read(i) for i in range(3)],
            lambda: read_labels(f"{path}/labels.csv", PackedDataset(path)),
        ):
            try:
                action()
            except ValueError as error:
                print("refused:", error)

    read(Path(sys.argv[1]))
    watched = ("exec", "compile", "import", "pickle.", "os.system", "os.exec", "os.posix_spawn",
               "subprocess.", "os.mkdir", "ctypes.dlopen", "socket.")
    sys.addaudithook(lambda event, args: event.startswith(watched) and print("RAN", event, args))
    for path in sys.argv[2:]:
        print("reading", path)
        read(Path(path))
    print("done")
"""


def test_a_hostile_index_picture_description_or_label_table_runs_nothing(
    pack_frames: Callable[..., Path], tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    order = pickle.dumps(Order(proof))
    python = f"__import__('os').mkdir({str(proof)!r})"
    labels = "frame,subject,AU01\nv/0/0,a,1\n"

    def crafted(name: str, file: str, content: bytes) -> str:
        folder = pack_frames({("a", "v", "0"): 3}, name=name)
        (folder / "labels.csv").write_text(labels)
        (folder / file).write_bytes(content)
        return str(folder)

    text = order.hex().encode()
    payload = b'{"clips": [["a", "v", "0"]], "videos": [{"video": "' + text + b'"}]}'
    index = struct.pack("<8sIII", b"TCAEIDX1", zlib.crc32(payload), len(payload), 0) + payload
    folders = [
        crafted("harmless", "labels.csv", labels.encode()),
        crafted("index", "shards/0000.index", order),
        crafted("magic", "shards/0000.index", b"TCAEIDX1" + order),
        crafted("inside", "shards/0000.index", index),
        crafted("pictures", "shards/0000.bin", b"TCAEBIN1" + order * 99),
        crafted("description", "dataset.json", order),
        crafted("yaml", "dataset.json", f"!!python/object/apply:os.mkdir [{proof}]".encode()),
        crafted("pickled", "labels.csv", order),
        crafted("formula", "labels.csv", f"frame,subject,AU\n=cmd|'calc'!A0,{python},1".encode()),
        crafted("expression", "labels.csv", f"frame,subject,AU\nv/0/0,a,{python}\n".encode()),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READER), *folders],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
    assert "RAN" not in done.stdout
    assert done.stdout.count("refused:") >= 9
    assert not proof.exists()
    # The order works where it is obeyed, and the watcher sees it.
    obeyed = READER.replace("verify(path)", "__import__('pickle').loads(bytes.fromhex(%r))")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(obeyed % order.hex()), folders[0], folders[0]],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert proof.exists()
    assert "RAN pickle.find_class" in done.stdout


LISTS = {
    "concat": "ffconcat version 1.0\nfile secret.mp4\n",
    "concat of paths": "ffconcat version 1.0\nfile {0}/secret.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{0}/secret.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{0}/secret.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 9999 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("ending", ["mp4", "ts", "mkv"])
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_other_files_is_no_video(
    write_video: Callable[..., Path], tmp_path: Path, kind: str, ending: str
) -> None:
    for secret in ("secret.mp4", "secret.ts"):
        assert len(list(read_frames(write_video(tmp_path / secret)))) == 6
    path = tmp_path / f"evil.{ending}"
    path.write_text(LISTS[kind].format(tmp_path))
    with pytest.raises(VideoError, match=f"{path}: cannot be opened as a video"):
        list(read_frames(path))
    assert estimated_frames(path) is None


@pytest.mark.parametrize("name", ["concat:secret.ts", "subfile,,start,0,end,0,,:secret.ts"])
def test_a_file_name_is_a_name_and_no_order(
    write_video: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "secret.ts", frames=6)
    Path(name).write_bytes(write_video(tmp_path / "other.ts", frames=2).read_bytes())
    assert len(list(read_frames(name))) == 2
