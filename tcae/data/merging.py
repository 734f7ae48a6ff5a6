"""One packed data set out of several, of the same files: nothing is copied or written anew."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tcae.data.labels import FOLDS, LABELS
from tcae.data.pack_parts import copy_states
from tcae.data.packing import MANIFEST, read_failed, write_manifest
from tcae.data.shard_files import PackInfo, index_files, read_index
from tcae.data.shared_table import share_frame_table


def merge(parts: Sequence[Path], out: Path) -> int:
    """Make a packed data set of hard links to the shards of others. They stay as they are.

    Args:
        parts: The packed data sets, on the file system of `out`. No packer may be writing to them.
        out: A directory that is empty or not yet there.

    Returns:
        The number of shards.

    Raises:
        ShardError: A part is no packed data set, or an index of it is damaged.
        ValueError: Settings differ, a video is in two parts, a part has labels, or `out` is not
            empty. Nothing has been written then.
        OSError: For example `out` is on another file system.
    """
    info = _common_info(parts)
    _check_videos(parts)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: already there; choose another")
    (out / "shards").mkdir(parents=True, exist_ok=True)
    count = 0
    for part in parts:
        for index in index_files(part):
            name = _free_name(out / "shards", index.stem)
            for suffix in (".bin", ".index"):
                _link(index.with_suffix(suffix), out / "shards" / f"{name}{suffix}")
            count += 1
        copy_states(part, out)
    write_manifest(out, [row for part in parts for row in read_failed(part / MANIFEST)])
    share_frame_table(out)
    info.save(out)  # last, so that half a merge is no data set
    return count


def _common_info(parts: Sequence[Path]) -> PackInfo:
    first = PackInfo.load(parts[0])
    for part in parts:
        ours, theirs = (_flat(info) for info in (first, PackInfo.load(part)))
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise ValueError(
                    f"{part}: was packed with {name} {theirs.get(name)}, "
                    f"{parts[0]} with {ours.get(name)}"
                )
        for name in (LABELS, FOLDS):
            if (part / name).exists():
                raise ValueError(f"{part / name}: tables of labels and folds are not merged")
    return first


def _flat(info: PackInfo) -> dict[str, object]:
    fields = asdict(info)
    return {**fields.pop("settings"), **fields, "template": info.template.to_dict()}


def _check_videos(parts: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for part in parts:
        own = {c.video for index in index_files(part) for c in read_index(index).clips}
        both = sorted(own & seen.keys())
        if both:
            raise ValueError(
                f"{part}: video {both[0]} is in {seen[both[0]]} too ({len(both)} such videos)"
            )
        seen |= dict.fromkeys(own, part)


def _free_name(shards: Path, stem: str) -> str:
    """Return a name that no shard has. Older packers gave the same names in every data set."""
    names = (stem if k == 0 else f"{stem}-{k}" for k in range(10**9))
    return next(name for name in names if not (shards / f"{name}.bin").exists())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.EXDEV:
            reason = "on another file system than --out, so it cannot be linked"
        raise OSError(error.errno, reason, str(source)) from None
