"""A folder that LeRobot itself wrote is opened as a dataset."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wm_gym.data.episodes import open_dataset
from wm_gym.errors import DataError

TABLE = "data/chunk-000/file-000.parquet"


@pytest.fixture
def copied(foreign_folder, tmp_path):
    return shutil.copytree(foreign_folder, tmp_path / "arm")


def alter(folder, name, change):
    table = pq.read_table(folder / TABLE)
    values = change(np.stack(table[name].to_numpy()).copy())
    kind = table.schema.field(name).type
    column = pa.array(values.tolist(), kind)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), folder / TABLE)


def test_its_rows_become_episodes_one_step_shorter(foreign_folder):
    dataset = open_dataset(foreign_folder)
    table = pq.read_table(foreign_folder / TABLE).to_pydict()
    episode = dataset.episode(1)
    np.testing.assert_array_equal(episode.observations, np.array(table["observation.state"][30:60], np.float32))
    np.testing.assert_array_equal(episode.actions[:, 0], np.array(table["action"][30:59], np.float32))
    assert dataset.lengths.tolist() == [29] * 8 and (episode.truncated, episode.terminated) == (True, False)
    assert dataset.task.name == "toy_arm" and dataset.task.control_dt == 0.05 and dataset.task.env_id is None
    assert dataset.task.action_space.low[0] == min(a for n, a in enumerate(table["action"]) if n % 30 != 29)
    assert dataset.manifest["recipe"]["unrecorded"] == ["reward", "termination"] and dataset.manifest["notes"] == []
    assert not episode.rewards.any() and len(dataset.digest()) == 64


def test_its_licence_is_that_of_its_card(copied):
    assert open_dataset(copied).manifest["licence"] is None
    (copied / "README.md").write_text("---\nlicense: apache-2.0\ntags: [arm]\n---\nAn arm.\n")
    assert open_dataset(copied).manifest["licence"] == "apache-2.0"


def test_actions_one_row_off_are_noted(copied):
    alter(copied, "action", lambda values: np.roll(values, 1))
    (note,) = open_dataset(copied).manifest["notes"]
    assert note.startswith("changes are explained best by the action of row t+1")


@pytest.mark.parametrize(
    ("name", "row", "value", "words"),
    [
        ("action", 35, np.nan, "'action' is not finite in row 35"),
        ("timestamp", 35, 0.1, "episode 1: row 5: a time stamp before that of row 4"),
        ("timestamp", 35, 0.22, "episode 1: row 6: 1 sample missing before it"),
    ],
)
def test_a_fault_is_named(copied, name, row, value, words):
    def change(values):
        values[row] = value
        return values

    alter(copied, name, change)
    with pytest.raises(DataError, match=words):
        open_dataset(copied)


def test_a_missing_column_is_named(copied):
    table = pq.read_table(copied / TABLE)
    pq.write_table(table.drop(["observation.state"]), copied / TABLE)
    with pytest.raises(DataError, match=r"no column 'observation\.state'"):
        open_dataset(copied)


def test_an_older_version_is_refused(copied):
    info = json.loads((copied / "meta/info.json").read_text())
    (copied / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.1"}))
    with pytest.raises(DataError, match=r"convert it with LeRobot's own tool"):
        open_dataset(copied)
