from __future__ import annotations

import numpy as np
import pytest

from tcae.evaluation.calibration import Calibration
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.neutral import Neutral, levelled
from tcae.evaluation.refinement import RefinedRows, Refinement
from tcae.evaluation.smoothing import smooth
from tcae.evaluation.table import Column, TableWriter
from tcae.evaluation.unit_columns import unit_columns, unit_values

UNITS = ("AU06", "AU12")


@pytest.fixture
def probe() -> LinearProbe:
    probe = LinearProbe(3, UNITS)
    lines = np.array([[1.0, 2.0], [-1.0, 0.5]])
    probe.calibration = Calibration(lines, *np.array([[0.4, 0.6], [0.2, 0.3], [-2, -1]]), lines)
    return probe


COLUMNS = (
    *(Column("file", "text"), Column("frame", "int"), Column("timestamp", "time")),
    *(Column("face_id", "int"), Column("AU06_logit", "real"), Column("AU12_logit", "real")),
    Column("au_000", "real"),
)


def rows(videos: int = 2, frames: int = 40) -> list[list]:
    """Two faces in each frame of some videos; every fifth frame shows none."""
    rng, found = np.random.default_rng(0), []
    for video in range(videos):
        for frame in range(frames):
            for face in (0, 1) if frame % 5 else (None,):
                values = [None] * 3 if face is None else rng.normal(size=3).tolist()
                found.append([f"{video}.mp4", frame, frame / 25, face, *values])
    return found


def expected(given: list[list], probe: LinearProbe, seconds: float, neutral: bool) -> list[list]:
    """Face by face, without the code that is tested."""
    done = [list(row) for row in given]
    for video in {row[0] for row in given}:
        for face in (0, 1):
            at = [i for i, row in enumerate(given) if row[0] == video and row[3] == face]
            logits = np.array([given[i][4:6] for i in at])
            if neutral:
                calm = probe.calibration.probabilities(logits).sum(1).argsort()[: len(at) // 10]
                logits = levelled(logits, logits[calm].mean(0), probe.calibration)
            logits = smooth(logits, np.array([given[i][2] for i in at]), seconds)
            for i, values in zip(at, unit_values(probe, logits), strict=True):
                done[i] = [*given[i][:4], *values, given[i][6]]
    return [row if row[3] is not None else [*row[:4], *[None] * 6, None] for row in done]


@pytest.mark.parametrize("seconds", [0.0, 0.3])
@pytest.mark.parametrize("neutral", [None, Neutral()])
def test_rows_of_each_face_of_each_video(probe, seconds, neutral):
    given = rows()
    refinement = Refinement(probe, neutral, seconds)
    finish = RefinedRows(COLUMNS, refinement)
    assert finish.columns == (*COLUMNS[:4], *unit_columns(probe), COLUMNS[6])
    found = list(finish(lambda: iter(given)))
    for row, wanted in zip(
        found, expected(given, probe, seconds, neutral is not None), strict=True
    ):
        assert row[:4] == wanted[:4]
        assert row[4:] == (pytest.approx(wanted[4:]) if wanted[3] is not None else wanted[4:])
    assert (refinement.faces, refinement.levelled) == (4, 0 if neutral is None else 4)


def test_what_was_done_is_told(probe):
    refinement = Refinement(probe, Neutral(), 0.2)
    list(RefinedRows(COLUMNS, refinement)(lambda: iter(rows(1, 40))))
    assert refinement.summary() == (
        "action units: neutral face (the calmest tenth of its frames) taken off 2 of 2 faces; "
        "smoothed over 0.2 s"
    )
    refinement = Refinement(probe, Neutral())
    list(RefinedRows(COLUMNS, refinement)(lambda: iter(rows(1, 10))))
    assert refinement.summary().endswith("0 of 2 faces, the others have fewer than 20 frames")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_is_finished_with_them_even_after_a_stop(probe, tmp_path, ending):
    pandas = pytest.importorskip("pandas")
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    given, path = rows(), tmp_path / f"t.{ending}"
    finish = RefinedRows(COLUMNS, Refinement(probe, Neutral()))
    with pytest.raises(KeyboardInterrupt), TableWriter(path, COLUMNS, finish=finish) as table:
        table.write(given[:50])
        table.mark(50)
        raise KeyboardInterrupt
    assert not path.exists()
    with TableWriter(path, COLUMNS, resume=True, finish=finish) as table:
        table.write(given[table.position :])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    read = pandas.read_csv(path) if ending == "csv" else pandas.read_parquet(path)
    assert list(read) == [column.name for column in finish.columns]
    wanted = pandas.DataFrame(expected(given, probe, 0.0, True), columns=list(read))
    for name in ("AU06_c", "AU12_p", "AU12_r", "au_000"):
        np.testing.assert_allclose(
            read[name].to_numpy(float), wanted[name].to_numpy(float), rtol=1e-5
        )


def test_a_finish_that_fails_keeps_the_rows(tmp_path):
    class Broken:
        columns = COLUMNS

        def __call__(self, read):
            yield from list(read())[:1]
            raise ValueError("broken")

    path = tmp_path / "t.csv"
    with (
        pytest.raises(ValueError, match="broken"),
        TableWriter(path, COLUMNS, finish=Broken()) as table,
    ):
        table.write(rows(1))
        table.mark(1)
    assert {file.name for file in tmp_path.iterdir()} == {"t.csv.partial", "t.csv.partial.json"}
