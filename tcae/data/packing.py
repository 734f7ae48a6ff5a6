"""Packing of many videos: worker processes, continuing after a kill, the manifest."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import multiprocessing
import re
import secrets
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tcae.data.crops import FrameMaker, Landmarks
from tcae.data.labels import FOLDS, LABELS
from tcae.data.pack_parts import WHOLE, Part, Writer, missing_parts, one_at_a_time
from tcae.data.pack_worker import Message, OutputError, VideoRow, work
from tcae.data.shard_files import PackInfo, ShardError, index_files, read_index
from tcae.data.shared_table import TABLE_FILE, share_frame_table
from tcae.data.sources import Source
from tcae.files.durable import write_durably

log = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
_STOP_SECONDS = 30.0
_NO_GUARD = 78  # exit status of a worker that found itself running the script that started it

Report = Callable[[VideoRow | None, int], None]
"""Takes a finished video, or None, and the number of frames sampled since the last call."""


def pack_videos(
    sources: list[Source],
    out: Path,
    config: FrameMaker,
    *,
    workers: int,
    landmarks: dict[str, Landmarks] | None = None,
    report: Report = lambda row, frames: None,
    part: Part = WHOLE,
) -> list[VideoRow]:
    """Pack videos into a data set, or continue it. Videos that are packed already stay as they are.

    Args:
        sources: The videos.
        out: Directory of the packed data set.
        config: How to make their frames. An existing data set must have the same.
        workers: Number of processes.
        landmarks: Faces by key of the source, if they are given.
        report: See `Report`.
        part: The part of the sources to pack. Other packers may pack the others meanwhile.

    Returns:
        The outcome of each source of the part, in their order. `out/manifest.csv` holds the same,
        and the outcomes of earlier sources.

    Raises:
        ValueError: `out` holds something else, has other settings, or is being written to.
        OSError: For example the disk is full. Everything on the disk before is safe.
        RuntimeError: The calling script has no main guard, which worker processes need.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(_NO_GUARD)  # this is a worker that imports the script; see _bury
    out.mkdir(parents=True, exist_ok=True)
    _check_settings(out, config)
    sources = [source for source in sources if part.holds(source.name)]
    with Writer(out, part) as writer:
        done = packed_videos(out)
        rows = {s.name: row for s in sources if (row := _known(s, done)) is not None}
        todo = [source for source in sources if source.name not in rows]
        for row in rows.values():
            report(row, 0)
        pool = _Pool(out, config, landmarks or {}, report, part.name, writer.locks)
        writer.share()
        try:
            pool.run(todo, workers)
        except OutputError as error:
            with contextlib.suppress(OSError):  # perhaps there is room for this
                write_manifest(out, [*rows.values(), *pool.rows.values()])
            raise OSError(f"{error}; what was packed before is safe") from error
        except KeyboardInterrupt:
            write_manifest(out, [*rows.values(), *pool.rows.values()])
            raise
        rows.update(pool.rows)
        write_manifest(out, rows.values())
        writer.finish()
    if not any(missing_parts(out)):
        share_frame_table(out)
    return [rows[source.name] for source in sources]


def packed_videos(out: Path) -> dict[str, VideoRow]:
    """Return the outcomes of the videos in the shards of a data set, by name."""
    done: dict[str, VideoRow] = {}
    for path in index_files(out):
        try:
            videos = read_index(path).videos
            done.update({row["video"]: VideoRow(**row) for row in videos})
        except ShardError as error:
            log.warning("%s; its videos are packed again", error)
        except (TypeError, KeyError):
            log.warning("%s: was not written by tcae.pack", path)
    return done


def remove_pack(out: Path) -> None:
    """Delete what packing writes and nothing else.

    Raises:
        ValueError: `out` holds something else than a packed data set.
    """
    shards = out / "shards"
    if out.exists() and not shards.is_dir() and not (out / "dataset.json").exists():
        _refuse_foreign(out)
    for ending in ("bin", "index", "tmp", "lock"):
        for path in shards.glob(f"*.{ending}"):
            path.unlink()
    with contextlib.suppress(OSError):  # not there, or something else in it
        shards.rmdir()
    for name in ("dataset.json", MANIFEST, TABLE_FILE, "summary.json"):
        (out / name).unlink(missing_ok=True)


def _check_settings(out: Path, config: FrameMaker) -> None:
    info = PackInfo(config.image_size, config.template, config.settings)
    if not (out / "dataset.json").exists():
        _refuse_foreign(out)
        (out / "shards").mkdir(exist_ok=True)
        with one_at_a_time(out):
            if not (out / "dataset.json").exists():
                info.save(out)
    there = PackInfo.load(out)
    settings: list[tuple[str, Any, Any]] = [
        ("image_size", there.image_size, info.image_size),
        ("template", there.template.to_dict(), info.template.to_dict()),
        *((key, there.settings.get(key), value) for key, value in info.settings.items()),
    ]
    for name, old, new in settings:
        if old != new:
            raise ValueError(
                f"{out}: was packed with {name} {old}, not {new}; choose another --out, or "
                "--overwrite to start afresh"
            )


def _refuse_foreign(out: Path) -> None:
    if not out.is_dir():
        return
    # Another packer may be about to begin the same set.
    begun = ["dataset.json", "dataset.json.tmp"]
    begun += ["shards"] * all(path.suffix == ".lock" for path in (out / "shards").glob("*"))
    if any(path.name not in (LABELS, FOLDS, *begun) for path in out.iterdir()):
        raise ValueError(f"{out}: is not empty and not a packed data set")


def _known(source: Source, done: dict[str, VideoRow]) -> VideoRow | None:
    """Return the outcome of a video in an earlier run; None if it is still to do."""
    row = done.get(source.name)
    if row is None:
        return None
    try:
        size = source.size()
    except OSError:
        return row
    if size != row.size:
        reason = f"another video named {source.name} (of size {row.size}, not {size}) is packed"
        return VideoRow(source.name, source.key, "failed", source.identity, reason=reason)
    return row


def write_manifest(out: Path, rows: Iterable[VideoRow]) -> None:
    """Write one line for each video of this and earlier runs, sorted by name."""
    with one_at_a_time(out):
        table = {row.video: asdict(row) for row in read_failed(out / MANIFEST)}
        table.update({row.video: asdict(row) for row in packed_videos(out).values()})
        table.update({row.video: asdict(row) for row in rows})
        text = io.StringIO()
        names = [column.name for column in fields(VideoRow)]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table[name] for name in sorted(table))
        write_durably(out / MANIFEST, text.getvalue().encode("utf-8", "surrogateescape"))


def read_failed(path: Path) -> list[VideoRow]:
    """Return the lines of an earlier manifest about videos that are in no shard."""
    if not path.exists():
        return []
    columns = {column.name for column in fields(VideoRow)}
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if set(row) == columns and row["status"] == "failed"]
    return [VideoRow(**row) for row in failed]  # type: ignore[arg-type]


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    current: Source | None = None
    pending: list[tuple[Source, VideoRow]] = field(default_factory=list)  # finished, not durable
    ready: bool = False
    dismissed: bool = False


class _Pool:
    """Hands videos to worker processes and replaces processes that die."""

    def __init__(
        self,
        out: Path,
        config: FrameMaker,
        landmarks: dict[str, Landmarks],
        report: Report,
        part: str,
        locks: tuple[Path, ...],
    ) -> None:
        self.rows: dict[str, VideoRow] = {}
        self._out, self._config, self._landmarks, self._report = out, config, landmarks, report
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._queue: deque[Source] = deque()
        self._locks = locks
        run = 1 + max(
            [int(m[1]) for p in index_files(out) if (m := re.match(r"(\d+)-", p.name))], default=-1
        )
        # No other packer ever has this name, so sets of several machines can be put together.
        self._name = f"{run:04d}-{part}-{secrets.token_hex(6)}"
        self._started = 0

    def run(self, sources: list[Source], workers: int) -> None:
        self._queue.extend(sources)
        try:
            for _ in range(min(workers, len(sources))):
                self._start()
            while self._workers:
                for pipe in wait([worker.pipe for worker in self._workers]):
                    self._listen(next(w for w in self._workers if w.pipe is pipe))
        finally:
            self._stop()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        name = f"{self._name}-{self._started:03d}"
        self._started += 1
        process = self._context.Process(
            target=work, args=(theirs, self._out, name, self._config, self._locks), daemon=True
        )
        with _interrupts_ignored():
            process.start()
        theirs.close()  # so that the worker's death ends the pipe
        self._workers.append(_Worker(process, ours))

    def _listen(self, worker: _Worker) -> None:
        try:
            message: Message = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker)
            return
        kind, content = message
        if kind == "frames":
            self._report(None, content)
        elif kind == "warning":
            log.warning("%s", content)
        elif kind == "full":
            raise OutputError(content)
        elif kind == "durable":
            for _, row in worker.pending:
                self.rows[row.video] = row
            worker.pending.clear()
        else:
            if kind == "finished":
                assert worker.current is not None
                self._finish(worker, worker.current, content)
            worker.ready = True
            self._deal(worker)

    def _finish(self, worker: _Worker, source: Source, row: VideoRow) -> None:
        worker.current = None
        if row.status == "failed":
            self.rows[row.video] = row
        else:
            worker.pending.append((source, row))
        self._report(row, 0)

    def _deal(self, worker: _Worker) -> None:
        """Give the next video to a worker, or let it end."""
        task = None
        if self._queue:
            worker.current = self._queue.popleft()
            task = (worker.current, self._landmarks.get(worker.current.key))
        worker.dismissed = task is None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # see _bury
            worker.pipe.send(task)

    def _bury(self, worker: _Worker) -> None:
        """Handle the end of a worker. If it died, name its video and repeat the unsaved ones."""
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        if worker.dismissed and not worker.pending:
            return
        if worker.process.exitcode == _NO_GUARD:
            script = getattr(sys.modules["__main__"], "__file__", "the script")
            raise RuntimeError(
                f"{script}: worker processes run it from its first line, so the call that starts "
                'them must stand below `if __name__ == "__main__":`'
            ) from None
        if not worker.ready:
            raise ValueError(f"a worker cannot start (exit status {worker.process.exitcode})")
        if worker.current is not None:
            source = worker.current
            reason = f"the process that decoded it died ({_how(worker.process)})"
            row = VideoRow(source.name, source.key, "failed", source.identity, reason=reason)
            self._finish(worker, source, row)
        self._queue.extend(source for source, _ in worker.pending)
        if self._queue:
            self._start()

    def _stop(self) -> None:
        """End the remaining workers. They write what they have finished to the disk."""
        for worker in self._workers:
            worker.process.terminate()
            worker.pipe.close()
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in self._workers:
            worker.process.join(max(deadline - time.monotonic(), 0))
            worker.process.kill()
            worker.process.join()
        self._workers.clear()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started inside ignore Ctrl-C from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread may change signals, or gets them
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _how(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit status {code}"
