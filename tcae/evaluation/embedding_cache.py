"""Embeddings kept on disk, part by part, so that a kill costs little."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import EMBEDDINGS, EmbeddedFrames, check_template, embed_frames
from tcae.files.durable import write_durably
from tcae.models.face_encoder import FaceEncoder

_PART = 2048  # frames in a part: what a kill costs at most
_PARTS = "embeddings.part"
_KEY = "embeddings.json"


def cached_embeddings(
    directory: Path,
    encoder: FaceEncoder,
    dataset: PackedDataset,
    frames: NDArray[np.int64],
    *,
    batch_size: int = 64,
    workers: int = 0,
) -> EmbeddedFrames:
    """Embed as `embed_frames`; keep ``embeddings_au.npy``, ``embeddings_pose.npy`` in a directory.

    Embeddings found there are used if they belong to the same encoder and the same pictures.
    """
    check_template(encoder, dataset.template, dataset.path)

    def kept(folder: Path, part: NDArray[np.int64]) -> EmbeddedFrames:
        key = _key(encoder, dataset, part)
        stored = _stored(folder, key)
        if stored is None:
            stored = embed_frames(encoder, dataset, part, batch_size=batch_size, workers=workers)
            _write(folder, key, stored)
        return stored

    if len(frames) <= _PART:
        return kept(directory, frames)
    key = _key(encoder, dataset, frames)
    whole = _stored(directory, key)
    if whole is None:
        starts = range(0, len(frames), _PART)
        parts = [
            kept(directory / _PARTS / f"{number:05d}", frames[start : start + _PART])
            for number, start in enumerate(starts)
        ]
        au, pose = (np.concatenate([part.array(name) for part in parts]) for name in EMBEDDINGS)
        failures = tuple(line for part in parts for line in part.failures)
        whole = EmbeddedFrames(au, pose, encoder.fingerprint, failures)
        _write(directory, key, whole)
        shutil.rmtree(directory / _PARTS)
    return whole


def _key(encoder: FaceEncoder, dataset: PackedDataset, frames: NDArray[np.int64]) -> dict[str, Any]:
    """Return what was embedded: the encoder, and the pictures' checksums and lengths, in order."""
    chosen = dataset.frames[frames]
    digest = hashlib.sha256(np.ascontiguousarray(chosen["crc32"]).tobytes())
    digest.update(np.ascontiguousarray(chosen["length"]).tobytes())
    return {"encoder": encoder.fingerprint, "crop": encoder.crop, "frames": digest.hexdigest()}


def _stored(folder: Path, key: dict[str, Any]) -> EmbeddedFrames | None:
    """Return the embeddings in a folder, None unless they have that key."""
    try:
        content = json.loads((folder / _KEY).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(content, dict) or {name: content.get(name) for name in key} != key:
        return None
    au, pose = (np.load(folder / f"embeddings_{name}.npy") for name in EMBEDDINGS)
    return EmbeddedFrames(au, pose, key["encoder"], tuple(content["failures"]))


def _write(folder: Path, key: dict[str, Any], embedded: EmbeddedFrames) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # The key goes first and comes last: a kill in between leaves no key, so nothing is trusted.
    (folder / _KEY).unlink(missing_ok=True)
    for name in EMBEDDINGS:
        content = io.BytesIO()
        np.save(content, embedded.array(name))
        write_durably(folder / f"embeddings_{name}.npy", content.getvalue())
    write_durably(folder / _KEY, json.dumps({**key, "failures": embedded.failures}).encode())
