import json

import pytest
import torch

from wm_gym.errors import ModelError
from wm_gym.models import list_models, load_model
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.trained import StartStates, TrainedModel
from wm_gym.models.trust import Calibration, Support
from wm_gym.types import BoxSpec, Observation, ObservationMap, TaskSpec


@pytest.fixture
def trained():
    torch.manual_seed(0)
    box = BoxSpec((-float("inf"), -1.0), (float("inf"), 1.0))
    task = TaskSpec("toy", box, BoxSpec((-1.0,), (1.0,)), 0.02, 7, observation_map=ObservationMap(angles=(0,)))
    states, actions = torch.randn(50, 2), torch.rand(50, 1)
    return TrainedModel(
        StateEnsemble(task, StateEnsembleConfig(members=2, width=8, layers=1, head_width=4)).eval(),
        StartStates(states[:5, None], torch.zeros(5, 0, 1), states[:, None], torch.zeros(50, 0, 1)),
        Support.measure(states, actions),
        Calibration(torch.rand(2, 7), torch.tensor(5)),
        {"seed": 3, "licence": "CC0-1.0"},
    )


def test_a_folder_gives_the_same_model_back(trained, tmp_path):
    trained.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.task == trained.task and loaded.manifest["licence"] == "CC0-1.0"
    for part in ("starts", "support", "calibration"):
        for name, value in vars(getattr(trained, part)).items():
            assert torch.equal(getattr(getattr(loaded, part), name), value)
    action = torch.zeros(3, 1)

    def roll(m):
        return m.predict(m.imagine(m.observe(None, None, m.encode(Observation(state=torch.ones(3, 2)))), action)).state

    assert torch.equal(roll(loaded.model), roll(trained.model))


def test_saving_replaces_an_older_model_whole(trained, tmp_path):
    trained.save(tmp_path / "model")
    (tmp_path / "model" / "stray.txt").write_text("of the older model")
    trained.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "MANIFEST.json",
        "config.json",
        "model.safetensors",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_byte_is_refused_by_its_hash(trained, tmp_path, name):
    trained.save(tmp_path / "model")
    path = tmp_path / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: changed since it was written"):
        load_model(tmp_path / "model")


def test_what_is_missing_is_named(trained, tmp_path):
    with pytest.raises(ModelError, match="no model 'nobody': neither a shipped one"):
        load_model("nobody")
    trained.save(tmp_path / "model")
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json: missing"):
        load_model(tmp_path / "model")


def test_another_schema_is_named(trained, tmp_path):
    trained.save(tmp_path / "model")
    path = tmp_path / "model" / "MANIFEST.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(ModelError, match="written in schema 99"):
        load_model(tmp_path / "model")


def test_nan_weights_are_refused(tmp_path):
    write_tensors(tmp_path / "w.safetensors", {"w": torch.tensor([1.0, float("nan")])})
    with pytest.raises(ModelError, match="'w' holds NaN"):
        read_tensors(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", list_models())
def test_shipped_models_are_small_licensed_and_reproducible(name):
    model = load_model(name)
    assert sum(p.stat().st_size for p in model.folder.iterdir()) <= 4 * 2**20
    assert model.manifest["licence"] and len(model.manifest["commands"]) == 2
    assert model.manifest["dataset"]["sha256"]


def test_support_is_a_box_and_an_ellipsoid_in_it():
    along = torch.linspace(-1, 1, 101)
    support = Support.measure(torch.stack([along, along], -1) + 0.05 * torch.randn(101, 2), torch.zeros(101, 1))
    no_action = torch.zeros(1, 1)
    assert support.contains(torch.tensor([[0.5, 0.5]]), no_action).item()
    assert not support.contains(torch.tensor([[0.9, -0.9]]), no_action).item()  # in the box, far from the data
    assert not support.contains(torch.tensor([[2.0, 2.0]]), no_action).item()
    assert not support.contains(torch.tensor([[0.5, 0.5]]), torch.ones(1, 1)).item()  # an action never seen


def test_calibration_turns_spread_into_the_error_that_was_measured(point_mass):
    """The fake's spread is x / 10; recorded truth stands still at x = 0.5, so error and spread are known."""
    from wm_gym.types import Segment

    model = point_mass.model
    observations = torch.zeros(6, 4, 2)
    observations[..., 0] = 0.5
    ones = torch.ones(6, 3)
    actions = torch.ones(6, 3, 1)
    segment = Segment(observations, actions, ones, ones * 0, ones)
    measured = Calibration.measure(model, segment, torch.Generator().manual_seed(0))
    # After one step of the mean: x = 0.51, v = 0.1; error = sqrt((0.01^2 + 0.1^2) / 2), spread = 0.051.
    expected = ((0.01**2 + 0.1**2) / 2) ** 0.5 / 0.051
    assert measured.scale[1, 0].item() == pytest.approx(expected, rel=1e-4)
    assert measured.horizon.item() == 3
    spread = torch.tensor([0.051])
    error = measured.expected_error(spread, torch.tensor([1]), deterministic=True)
    assert error.item() == pytest.approx(expected * 0.051, rel=1e-4)
