from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

import tcae.live
from tcae import demo
from tcae.live import server

ROOT = Path(tcae.__file__).parents[1]


def test_it_says_where_the_page_is_and_ends_with_a_line(detector) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tcae.demo", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address, _, advice = process.stdout.readline().partition("  ")
        assert address.startswith("http://127.0.0.1:") and advice == "(Ctrl-C ends it)\n"
        with urlopen(address, timeout=60) as response:
            assert b"Action units, live" in response.read()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("stopped\n", "", 0)


def test_a_port_in_use_is_a_line(capsys) -> None:
    with server.listen(0) as heard:
        port = heard.getsockname()[1]
        assert demo.main(["--port", str(port)]) == 2
    assert f"error: --port {port}: Address already in use" in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_get_it(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tcae.live, "server")  # as if it had never been imported
    monkeypatch.delitem(sys.modules, "tcae.live.server")
    for name in [name for name in sys.modules if name.split(".")[0] == "werkzeug"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "werkzeug", None)
    assert demo.main([]) == 2
    errors = capsys.readouterr().err
    assert errors == "tcae.demo: error: the page needs werkzeug: pip install 'tcae[demo]'\n"
