"""Raw records: they read back as they were written, and damage is named."""

import numpy as np
import pytest

from wm_gym.errors import DataError
from wm_gym.evaluation import records


def test_numbers_keep_nine_digits_and_nothing_that_is_none():
    found = records.rounded({"a": np.pi * 1e-7, "b": [np.nan, 1, True], "c": "x", "d": np.float32(0.1)})
    assert found == {"a": 3.14159265e-07, "b": [None, 1, True], "c": "x", "d": 0.100000001}


def test_records_read_back(tmp_path):
    path = tmp_path / "episodes.jsonl"
    written = [{"section": "a", "x": 0.1}, {"section": "b", "x": [1.5, None]}]
    records.write_records(path, written)
    assert records.read_records(path) == written
    assert records.of(written, section="b") == [written[1]]


def test_columns():
    rows = [{"x": 1, "y": [1.0, None]}, {"x": None, "y": [3.0]}]
    assert records.column(rows, "x") == pytest.approx([1, np.nan], nan_ok=True)
    assert records.ragged(rows, "y", 3) == pytest.approx(
        np.array([[1, np.nan, np.nan], [3, np.nan, np.nan]]), nan_ok=True
    )


@pytest.mark.parametrize("text", ["{", "[1]", '{"no": "section"}'])
def test_a_damaged_line_is_named(tmp_path, text):
    path = tmp_path / "episodes.jsonl"
    path.write_text(f'{{"section": "a"}}\n{text}\n')
    with pytest.raises(DataError, match="line 2"):
        records.read_records(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        records.read_records(tmp_path / "nothing")
