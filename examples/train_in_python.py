"""Trains on packed faces, listens to the trainer, and draws how the loss fell.

``python -m tcae.synthesize --identities 60 --out people`` packs faces to try it on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import tcae
from tcae.data.shards import PackedDataset
from tcae.training.validation import ValidationConfig

WIDTH, HEIGHT = 640, 360


def curve(losses: list[float]) -> np.ndarray:
    """Draw losses as a picture (H, W, 3) with one point for each step."""
    low, high = min(losses), max(losses)
    x = np.linspace(20, WIDTH - 20, len(losses))
    y = HEIGHT - 20 - (np.array(losses) - low) / max(high - low, 1e-9) * (HEIGHT - 60)
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    cv2.polylines(picture, [np.stack([x, y], 1).astype(np.int32)], False, (160, 80, 20), 2)
    caption = f"loss from {high:.3f} to {losses[-1]:.3f} in {len(losses)} steps"
    cv2.putText(picture, caption, (20, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (60, 60, 60), 1)
    return picture


def main() -> None:
    """Train, keep the loss of every step, and say how the reconstruction is getting on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="packed faces")
    parser.add_argument("--out", type=Path, default=Path("runs/python"), help="the run directory")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--image-size", type=int, default=64)
    options = parser.parse_args()

    losses: list[float] = []
    trainer = tcae.Trainer(
        tcae.TrainConfig(
            steps=options.steps,
            image_size=options.image_size,
            batch_size=16,
            validation=ValidationConfig(every=max(options.steps // 5, 1), pairs=32),
        ),
        PackedDataset(options.data),
        options.out,
        on_step=lambda step, values: losses.append(values["loss"]),
        on_validation=lambda step, measures: print(
            f"after step {step} a reconstruction is off by {measures['recon_ratio']:.2f} of what "
            "the unmoved source is"
        ),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    trainer.fit()
    cv2.imwrite(str(options.out / "curve.png"), curve(losses))
    print(f"encoder: {trainer.export_encoder()}, curve: {options.out / 'curve.png'}")


if __name__ == "__main__":
    main()
