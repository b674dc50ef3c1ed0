"""Damaged folders are refused or read, and what comes from a file is never run.

Ten thousand more are damaged by ``benchmarks/fuzz_files.py``.
"""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from wm_gym.errors import ConfigError, ModelError
from wm_gym.models import load_model
from wm_gym.physics.tasks import make_physics
from wm_gym.testing import inputs
from wm_gym.testing.mutations import mutate, reseal
from wm_gym.verify import verify_folder

ROOT = Path(__file__).parents[1]


def test_two_hundred_damaged_folders_are_refused_or_read(tmp_path):
    program = [sys.executable, str(ROOT / "benchmarks" / "fuzz_files.py")]
    arguments = ["mutations=200", "seed=7", f"output={tmp_path}"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == f"result: {tmp_path}"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["mutations"] == 200 and result["faults"] == []
    outcomes = result["outcomes"]
    assert sum(sum(count.values()) for count in outcomes.values()) == 200
    assert all(set(count) <= {"refused", "read"} and count["refused"] > 10 for count in outcomes.values())
    assert result["most_cpu_seconds"] < 1 and result["most_megabytes"] < 1024
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json"]


def test_the_same_seed_does_the_same_damage(tmp_path):
    for name in ("one", "two"):
        inputs.write_agent(tmp_path / name)
    damage = [mutate(tmp_path / name, np.random.default_rng(3)) for name in ("one", "two")]
    assert damage[0] == damage[1] != []
    one, two = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two")
    )
    assert one == two


@pytest.mark.parametrize(
    "write",
    [
        inputs.write_dataset,
        inputs.write_agent,
        inputs.write_report,
        inputs.make_model().save,
        inputs.make_camera_model().save,
    ],
)
def test_a_folder_that_was_sealed_anew_is_whole(tmp_path, write):
    write(tmp_path / "folder")
    reseal(tmp_path / "folder")
    assert [fault for check in verify_folder(tmp_path / "folder") for fault in check.faults] == []


# What comes from a file is never run


@pytest.fixture
def model(tmp_path):
    inputs.make_model().save(tmp_path / "model")
    return tmp_path / "model"


def edit_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    reseal(folder)


MODULE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


@pytest.mark.parametrize(
    "env_id", ["evil_module:Reacher-v5", "evil_module:Evil-v0", "Evil-v0", "CartPole-v1", "", "../Reacher-v5"]
)
def test_an_environment_named_by_a_file_is_made_only_if_it_is_plain_and_registered(
    model, tmp_path, monkeypatch, env_id
):
    (tmp_path / "evil_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    edit_config(model, lambda config: config["task"].update(env_id=env_id))
    trained = load_model(model)
    with pytest.raises(ConfigError, match=r"env_id=.* (is refused|is not registered|is not a MuJoCo)"):
        make_physics(trained.task)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"max_episode_steps": 3},
        {"spec": "Ant-v5"},
        {"id": "Ant-v5"},
        {"xml_file": "/dev/null"},
        {"xml_file": {"a": 1}},
        {"additional_wrappers": ["os:system"]},
        {"vectorization_mode": "sync"},
    ],
    ids=str,
)
def test_keyword_arguments_named_by_a_file_do_no_more_than_the_environment_lets_them(model, kwargs):
    edit_config(model, lambda config: config["task"].update(env_id="Reacher-v5", env_kwargs=kwargs))
    with pytest.raises(ConfigError, match="cannot be made"):
        make_physics(load_model(model).task)


@pytest.mark.parametrize("kwargs", ["os.system", [["a", 1]], 3])
def test_keyword_arguments_that_are_no_mapping_are_refused_at_loading(model, kwargs):
    edit_config(model, lambda config: config["task"].update(env_kwargs=kwargs))
    with pytest.raises(ModelError, match="env_kwargs"):
        load_model(model)


def test_a_class_named_by_a_file_is_an_unknown_key(model):
    for part in ("task", "model"):
        edit_config(model, lambda config, part=part: config[part].update(_target_="os.system"))
        with pytest.raises(ModelError, match="_target_"):
            load_model(model)


def test_no_id_with_a_module_reaches_gymnasium(model, monkeypatch):
    def never(*arguments, **keywords):
        raise AssertionError("gymnasium.make was reached")

    monkeypatch.setattr(gymnasium, "make", never)
    edit_config(model, lambda config: config["task"].update(env_id="os:system"))
    with pytest.raises(ConfigError, match="an id with a module would import it"):
        make_physics(load_model(model).task)
