from __future__ import annotations

import numpy as np
import pytest

from tcae.experiments.published import PUBLISHED, UNITS
from tcae.methods.registry import METHODS

# Rows that the paper copied from others, whose printed means are not those of the printed cells.
COPIED = {("bp4d", "DRML"), ("bp4d", "EAC-Net"), ("disfa", "EAC-Net")}
ROWS = [(name, row) for name, rows in PUBLISHED.items() for row in rows]


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{n}-{r.title}" for n, r in ROWS])
def test_rows_have_all_cells_and_their_mean(name, row):
    assert len(row.values) == len(UNITS[name])
    if None not in row.values and (name, row.title) not in COPIED:
        # The printed means differ from those of the printed cells by up to 0.13.
        assert np.mean(row.values) == pytest.approx(row.mean, abs=0.14)
    if row.method is not None:
        assert METHODS[row.method].family == row.family


def test_figures_that_the_text_names():
    tcae = {name: next(r for r in rows if r.title == "TCAE") for name, rows in PUBLISHED.items()}
    assert (tcae["bp4d"].mean, tcae["disfa"].mean) == (56.1, 45.0)
    cell = dict(zip(UNITS["disfa"], tcae["disfa"].values, strict=True))
    assert cell[9] == 23.3 and cell[25] == 82.1
