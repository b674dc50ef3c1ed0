import json

import pytest
import torch

from wm_gym.errors import ModelError
from wm_gym.files import file_hash
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
        Calibration.proportional(2.0, 7),
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


def test_what_float16_holds_exactly_takes_half_the_room(trained, tmp_path):
    with torch.no_grad():
        weight = trained.model.dynamics.weights[0]
        weight.copy_(weight.half().float())
    trained.save(tmp_path / "model")
    stored = read_tensors(tmp_path / "model" / "model.safetensors")
    assert stored["model.dynamics.weights.0"].dtype == torch.float16
    assert stored["model.dynamics.weights.1"].dtype == torch.float32
    loaded = load_model(tmp_path / "model").model.dynamics.weights[0]
    assert loaded.dtype == torch.float32 and torch.equal(loaded, weight)


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


def reseal(folder, change):
    """Change the tensors and the configuration of a model, and write the manifest so that every hash is right."""
    tensors = read_tensors(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    change(tensors, config)
    write_tensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(config))
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    manifest["files"] = {name: file_hash(folder / name) for name in ("model.safetensors", "config.json")}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, c: c["model"].update(width=10**9), "width=1000000000 is no size of a network"),
        (lambda t, c: c["model"].update(layers=-1), "layers=-1 is no size"),
        (lambda t, c: c["model"].update(width=4096), r"has shape \(.*\), \(.*4096.*\) is needed"),
        (lambda t, c: c["model"].update(layers=4000), "is missing"),
        (lambda t, c: c["model"].update(_target_="os.system"), "_target_"),
        (lambda t, c: c.update(model=[8]), "holds no sizes but list"),
        (lambda t, c: c.update(family=["state_ensemble"]), "does not describe a model"),
        (lambda t, c: c.update(family="os.system"), "does not describe a model"),
        (lambda t, c: c["task"]["observation_map"].update(angles=[7]), "names number 7 of an observation of 2"),
        (lambda t, c: t.pop("support.low"), "'support.low' is missing"),
        (lambda t, c: t.pop("model.normalizer.std"), "'normalizer.std' is missing"),
        (lambda t, c: t.update({"model.more": torch.zeros(1)}), "'more' is of no use"),
        (lambda t, c: t.update({"starts.any": torch.zeros(0, 1, 2)}), r"'starts.any' has shape \(0, 1, 2\)"),
        (lambda t, c: t.update({"starts.any": torch.zeros(3, 1, 3)}), r"\('any', 1, 2\)|\(3, 1, 2\) is needed"),
        (lambda t, c: t.update({"starts.initial_actions": torch.zeros(4, 0, 1)}), r"\(5, 0, 1\) is needed"),
        (
            lambda t, c: t.update({"calibration.horizon": torch.tensor(1.5)}),
            "'calibration.horizon' holds torch.float32",
        ),
        (
            lambda t, c: t.update({"model.normalizer.moving": torch.ones(2)}),
            "holds torch.float32, torch.bool is needed",
        ),
        (lambda t, c: t["model.normalizer.std"].fill_(0), "a scale that is not positive"),
        (lambda t, c: t["model.normalizer.low"].fill_(9e9), "ends before it begins"),
        (lambda t, c: t["model.normalizer.reward_range"].fill_(3e38), "reward_range. holds a value beyond"),
        (lambda t, c: t["support.radius"].fill_(float("inf")), "'support.radius' holds a value that is not finite"),
        (
            lambda t, c: t.update({"support.mean": torch.full((3,), 1e300, dtype=torch.float64)}),
            "'support.mean' holds a value that is not finite",
        ),
    ],
)
def test_a_model_that_does_not_fit_itself_is_refused_whatever_its_hashes_say(trained, tmp_path, change, words):
    trained.save(tmp_path / "model")
    reseal(tmp_path / "model", change)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(tmp_path / "model")
    assert len(str(caught.value).splitlines()) == 1


def test_half_precision_is_read_as_single(trained, tmp_path):
    trained.save(tmp_path / "model")
    reseal(tmp_path / "model", lambda t, c: t.update({n: v.half() for n, v in t.items() if v.is_floating_point()}))
    loaded = load_model(tmp_path / "model")
    assert all(p.dtype == torch.float32 and not p.is_meta for p in loaded.model.state_dict().values() if p.dim() > 1)
    assert loaded.starts.any.dtype == loaded.support.low.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": ["model.safetensors"]}, "'files' is list, dict is needed"),
        ({"files": {}}, "changed since it was written"),
        ({"files": {"model.safetensors": 3, "config.json": None}}, "changed since it was written"),
        ({"dataset": "reacher"}, "'dataset' is str"),
        ({"commands": "python"}, "'commands' is str"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(trained, tmp_path, change, words):
    trained.save(tmp_path / "model")
    path = tmp_path / "model" / "MANIFEST.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=words):
        load_model(tmp_path / "model")


def test_loading_draws_no_random_numbers(trained, tmp_path):
    trained.save(tmp_path / "model")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_model(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_header_that_promises_too_much_is_refused_unread(tmp_path):
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"w": torch.ones(2)})
    whole = path.read_bytes()
    for length in (2**63, 2**40, 10**8, len(whole) + 1, 0):
        path.write_bytes(length.to_bytes(8, "little") + whole[8:])
        with pytest.raises(ModelError, match="cannot be read as safetensors"):
            read_tensors(path)


def test_numbers_of_a_kind_that_we_never_write_are_refused(tmp_path):
    write_tensors(tmp_path / "w.safetensors", {"w": torch.ones(2).to(torch.float8_e4m3fn)})
    with pytest.raises(ModelError, match=r"'w' holds torch\.float8"):
        read_tensors(tmp_path / "w.safetensors")


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
