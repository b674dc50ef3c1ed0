"""``python -m wm_gym.verify FOLDER``: nothing wrong with what was written, and every fault of what was damaged."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from wm_gym.data import lerobot, tables
from wm_gym.data.metadata import MANIFEST, TASK
from wm_gym.data.video import read_video, write_video
from wm_gym.data.writer import DatasetWriter
from wm_gym.evaluation.trajectories import Recorded, write_trajectories
from wm_gym.files import file_hash, write_json
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.trained import StartStates, TrainedModel
from wm_gym.models.trust import Calibration, Support
from wm_gym.policies.policy import Policy
from wm_gym.types import BoxSpec, CameraSpec, Episode, TaskSpec
from wm_gym.verify import main, verify_folder

TASK_SPEC = TaskSpec("toy", BoxSpec((-np.inf,) * 2, (np.inf,) * 2), BoxSpec((-1.0,), (1.0,)), 0.05, 9)
VIDEO = lerobot.video_file("top", 0)


def make_episode(number, camera):
    rng = np.random.default_rng(number)
    frames = {"top": rng.integers(0, 255, (6, 16, 24, 3), dtype=np.uint8)} if camera else {}
    numbers = (rng.normal(size=shape).astype(np.float32) for shape in ((6, 2), (5, 1), (5,)))
    return Episode(*numbers, False, True, 0.05, frames, behaviour="random", seed=number)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    task = replace(TASK_SPEC, cameras=(CameraSpec("top", width=24, height=16),))
    folder = tmp_path_factory.mktemp("dataset") / "data"
    writer = DatasetWriter(folder, task, {"seed": 0}, "CC0-1.0", {}, "python record.py")
    for number in range(3):
        writer.stage(f"{number}", make_episode(number, camera=True))
    return writer.finish([f"{number}" for number in range(3)]).folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    states, actions = torch.randn(50, 2), torch.rand(50, 1)
    manifest = {
        "licence": "CC0-1.0",
        "commands": ["python record.py", "python fit.py"],
        "seed": 0,
        "dataset": {"sha256": "0" * 64, "steps": 15},
        "versions": {"wm_gym": "0.1.0"},
    }
    trained = TrainedModel(
        StateEnsemble(TASK_SPEC, StateEnsembleConfig(members=2, width=8, layers=1, head_width=4)).eval(),
        StartStates(states[:5, None], torch.zeros(5, 0, 1), states[:, None], torch.zeros(50, 0, 1)),
        Support.measure(states, actions),
        Calibration.proportional(2.0, 7),
        manifest,
    )
    folder = tmp_path_factory.mktemp("model") / "model"
    trained.save(folder)
    return folder


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent") / "agent"
    details = {"algorithm": "ppo", "world": "imagination", "seed": 4, "steps": 100, "task": "toy", "model": {"a": "b"}}
    tensors = {
        "mean": torch.zeros(2),
        "scale": torch.ones(2),
        "low": -torch.ones(1),
        "high": torch.ones(1),
        "weight.0": torch.ones(1, 2),
        "bias.0": torch.zeros(1),
    }
    Policy(tensors, "tanh", False, details).save(folder / "policy")
    result = {**details, "command": "python agents/train_agent.py", "settings": {"seed": 4}}
    write_json(folder / "result.json", result | {"versions": {"wm_gym": "0.1.0"}})
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two episodes of one policy in both worlds, and a report of their returns."""
    folder = tmp_path_factory.mktemp("report") / "report"
    folder.mkdir()
    episodes = [make_episode(number, camera=False) for number in range(2)]
    imagined = [replace(episode, rewards=episode.rewards + 1) for episode in episodes]
    records = [
        Recorded("closed_loop", "physics", "PPO", [replace(episode, behaviour="") for episode in episodes]),
        Recorded("closed_loop", "imagination", "PPO", [replace(episode, behaviour="") for episode in imagined]),
    ]
    write_trajectories(folder / "trajectories.parquet", records)
    mean = float(np.mean([episode.rewards.sum() for episode in episodes]))
    values = {
        "headline": "It works.",
        "closed_loop": {"contenders": [{"name": "PPO", "physical": {"value": mean}, "imagined": {"value": mean + 5}}]},
        "data": {"sha256": "0" * 64, "licence": "CC0-1.0"},
        "identity": {"model": {"sha256": "1" * 64}, "commands": [{}], "versions": {"a": "1"}, "seeds": {"a": 1}},
    }
    write_json(folder / "report.json", values)
    write_json(folder / "result.json", {"task": "toy"})
    (folder / "report.html").write_text("<p>It works.</p>")
    seal(folder)
    return folder


def seal(folder):
    """Write the hashes of the files as they are now."""
    path = folder / (MANIFEST if (folder / MANIFEST).exists() else "MANIFEST.json")
    manifest = json.loads(path.read_text()) if path.exists() else {"schema_version": 1}
    listed = manifest.get("files") or [p.name for p in folder.iterdir() if p != path]
    manifest["files"] = {name: file_hash(folder / name) for name in listed if (folder / name).exists()}
    path.write_text(json.dumps(manifest))


def faults(folder):
    return [fault for check in verify_folder(folder) for fault in check.faults]


KINDS = ("dataset", "model", "agent", "policy", "report")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def folder_of(request, kind):
    name = "agent" if kind == "policy" else kind
    folder = request.getfixturevalue(name)
    return folder / "policy" if kind == "policy" else folder


def test_of_each_kind_nothing_is_wrong(request, kind, capsys):
    folder = folder_of(request, kind)
    assert main([str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{folder}: {kind}" and said[-1] == "nothing is wrong"
    assert all(line.endswith(" ok") for line in said[1:-1]) and len(said) > 4


ROOT = Path(__file__).parents[1]
SHIPPED = [*(ROOT / "wm_gym" / "zoo").iterdir(), *(ROOT / "datasets" / "behaviours").glob("*/*")]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_of_what_is_shipped_nothing_is_wrong(folder):
    assert faults(folder) == []


def test_as_a_person_runs_it(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "config.json").unlink()
    (folder / "notes.txt").write_text("mine")
    command = [sys.executable, "-m", "wm_gym.verify"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "faults" in done.stdout.splitlines()[-1]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"error: {folder / 'config.json'}: missing; train the model again, or copy its folder again" in errors
    assert f"error: {folder / 'notes.txt'}: is not in the manifest; move it elsewhere" in errors
    assert "Traceback" not in done.stderr
    usage = subprocess.run(command, capture_output=True, text=True, check=False)
    assert usage.returncode == 1 and usage.stdout.startswith("usage: python -m wm_gym.verify FOLDER")
    assert subprocess.run([*command, "--help"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ("", "no such folder"),
        ("data.staging", "recording is not finished"),
        ("data.partial", "training is not finished"),
    ],
)
def test_no_folder_is_told_from_one_that_is_not_finished(tmp_path, capsys, left, words):
    (tmp_path / left).mkdir(exist_ok=True)
    assert main([str(tmp_path / "data")]) == 1
    assert words in capsys.readouterr().err
    assert main([str(tmp_path)]) == 1
    assert "not a folder of wm_gym" in capsys.readouterr().err


# Every fault of a folder, not only the first


def rewrite(folder, **changes):
    columns = {n: values.copy() for n, values in tables.read_table(folder / lerobot.DATA).items()}
    for name, (row, value) in changes.items():
        columns[name.replace("__", ".")][row] = value
    tables.write_table(folder / lerobot.DATA, columns)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def data(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "data")


def test_many_faults_of_a_dataset_are_all_named(data):
    rewrite(data, observation__state=((7, 1), np.nan), frame_index=(8, 5), is_final=(9, True))
    edit(data / lerobot.INFO, total_frames=99, fps=30)
    edit(data / MANIFEST, licence="")
    (data / lerobot.TASKS).unlink()
    (data / ".partial-1-result.json").write_text("half")
    found = "\n".join(faults(data))
    for words in (
        "tasks.parquet: missing",
        "file-000.parquet: changed since it was written",
        "info.json: changed since it was written",
        "does not say 'licence'; write it there, or record again",
        "'total_frames' is 99, 18 is counted",
        "'fps' is 30, 20 is counted",
        "episode 1: 'observation.state' is not finite at step 1",
        "episode 1: column 'frame_index' is wrong at step 2",
        "episode 1: column 'is_final' is wrong at step 3",
        "result.json: left by a writer that was killed",
    ):
        assert words in found, words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timestamp": (7, 9.0)}, "episode 1: 'timestamp' is not the step's at step 1"),
        ({"next__terminated": (8, True)}, "'next.terminated' or 'next.truncated' before the last step at step 2"),
        ({"next__truncated": (10, False)}, "neither 'next.terminated' nor 'next.truncated' at the last step at step 4"),
        ({"next__done": (4, False)}, "episode 0: 'next.done' is not"),
        ({"action": (5, 1.0)}, "episode 0: an action or a reward where the episode is over at step 5"),
        ({"index": (3, 7)}, "'index' does not count the rows at step 3"),
        ({"next__reward": (2, 1e6)}, "stats.json: 'next.reward' is not what the table has"),
    ],
)
def test_a_table_that_contradicts_itself_is_named_whatever_its_hash_says(data, changes, words):
    rewrite(data, **changes)
    seal(data)
    assert words in "\n".join(faults(data))


def test_frames_are_counted_decoded_and_timed(data):
    frames = read_video(data / VIDEO)
    write_video(data / VIDEO, frames[:-1], 20)
    seal(data)
    assert "top/chunk-000/file-000.mp4: episode 2 needs frames up to 18, the video holds 17" in "\n".join(faults(data))
    write_video(data / VIDEO, frames, 25)
    seal(data)
    assert "frame 1 is at 0.040000 s, not at 0.050000 s" in "\n".join(faults(data))
    whole = (data / VIDEO).read_bytes()
    middle = len(whole) // 2
    (data / VIDEO).write_bytes(whole[:middle] + bytes(400) + whole[middle + 400 :])
    seal(data)
    assert "damaged video" in "\n".join(faults(data))


def test_a_result_of_another_recording_and_a_wrong_task_are_named(data):
    (data / TASK).write_text("{}")
    found = "\n".join(faults(data))
    assert "task.json: not a task description" in found and "task.json: changed since" in found


def test_many_faults_of_a_model_are_all_named(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    tensors = read_tensors(folder / "model.safetensors")
    tensors["support.low"].fill_(torch.inf)
    tensors["model.normalizer.std"].fill_(-1)
    del tensors["starts.any"]
    write_tensors(folder / "model.safetensors", tensors)
    edit(folder / "MANIFEST.json", seed=None, dataset={}, schema_version=7)
    found = "\n".join(faults(folder))
    for words in (
        "written in schema 7",
        "model.safetensors: changed since it was written",
        "does not say 'seed'",
        "does not say 'dataset.sha256'",
        "'support.low' holds a value that is not finite",
        "'starts.any' is missing",
        "'normalizer.std' holds a scale that is not positive",
    ):
        assert words in found, words


def test_weights_beyond_all_sense_still_imagine_finite_numbers(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    tensors = read_tensors(folder / "model.safetensors")
    for name in tensors:
        if "judge" in name or "dynamics" in name:
            tensors[name].fill_(torch.finfo(tensors[name].dtype).max)
    write_tensors(folder / "model.safetensors", tensors)
    seal(folder)
    assert faults(folder) == []


def test_a_policy_of_another_agent_is_named(agent, tmp_path):
    folder = shutil.copytree(agent, tmp_path / "agent")
    edit(folder / "result.json", seed=5, model={"a": "c"}, command="")
    found = faults(folder)
    assert [fault.partition(": ")[2] for fault in found] == [
        "does not say 'command'; train the agent again",
        "result.json and policy do not agree on 'seed': of two agents; train the agent again",
        "result.json and policy do not agree on 'model': of two agents; train the agent again",
    ]
    (folder / "policy" / "policy.safetensors").write_bytes(b"x" * 100)
    assert "policy.safetensors: missing or changed since it was written" in "\n".join(faults(folder))


def test_returns_that_do_not_follow_from_the_steps_are_named(report, tmp_path):
    folder = shutil.copytree(report, tmp_path / "report")
    values = json.loads((folder / "report.json").read_text())
    values["closed_loop"]["contenders"][0]["physical"]["value"] += 0.5
    (folder / "report.json").write_text(json.dumps(values))
    found = "\n".join(faults(folder))
    assert "report.json: changed since it was written" in found
    assert "PPO: return in physics is" in found and "return in imagination" not in found
    (folder / "trajectories.parquet").write_bytes(b"")
    (folder / "MANIFEST.json").unlink()
    found = "\n".join(faults(folder))
    assert "trajectories.parquet: damaged parquet" in found and "MANIFEST.json: cannot be read" in found


def test_names_that_are_no_text_are_named(report, tmp_path):
    folder = shutil.copytree(report, tmp_path / "report")
    table = pq.read_table(folder / "trajectories.parquet")
    nonsense = pa.array([b"\xdb\xe3"] * table.num_rows).view(pa.string())
    pq.write_table(table.set_column(2, table.schema.field(2), nonsense), folder / "trajectories.parquet")
    assert "trajectories.parquet: damaged parquet" in "\n".join(faults(folder))
