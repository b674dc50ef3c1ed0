"""What is installed is wm_gym alone, and importing it costs nothing that was not asked for."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import wm_gym

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "mujoco", "stable_baselines3", "cv2", "hydra")
LOADED = f"print([name for name in {HEAVY} if name in sys.modules])"
MEGABYTE = 2**20


def _fresh(code):
    done = subprocess.run([sys.executable, "-c", f"import sys, time\n{code}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel that is built from a copy, so that the checkout stays clean."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("wm_gym", "datasets", "agents", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    return zipfile.ZipFile(next(out.glob("*.whl"))).namelist()


def test_the_wheel_installs_wm_gym_and_nothing_beside_it(wheel):
    top = {name.split("/")[0] for name in wheel}
    assert top == {"wm_gym", f"wm_gym-{wm_gym.__version__}.dist-info"}


def test_the_wheel_holds_every_file_of_the_library(wheel):
    """Modules, the type marker, the report's page and the shipped models: all that lies in the folder."""
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / "wm_gym").rglob("*") if p.is_file()}
    expected = {name for name in files if "__pycache__" not in name}
    assert "wm_gym/py.typed" in expected
    assert expected == {name for name in wheel if name.startswith("wm_gym/")}


def test_the_default_model_is_shipped(wheel):
    assert {f"wm_gym/zoo/reacher/{name}" for name in ("model.safetensors", "config.json", "MANIFEST.json")} <= {*wheel}


def test_a_shipped_model_is_small():
    for folder in (ROOT / "wm_gym" / "zoo").iterdir():
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert size <= 4 * MEGABYTE, f"{folder.name} takes {size / MEGABYTE:.1f} MB, 4 are allowed"


def test_importing_costs_at_most_a_tenth_of_a_second_beyond_gymnasium():
    code = "import gymnasium\nstart = time.perf_counter()\nimport wm_gym\nprint(time.perf_counter() - start)"
    assert min(float(_fresh(code)) for _ in range(5)) < 0.1


def test_importing_loads_nothing_heavy():
    assert _fresh(f"import wm_gym\ndir(wm_gym)\n{LOADED}") == "[]"


def test_an_environment_steps_without_mujoco():
    code = (
        "import gymnasium\n"
        "env = gymnasium.make('wm_gym:WorldModel-v0')\n"
        "env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        f"{LOADED}"
    )
    assert _fresh(code) == "['torch']"


@pytest.mark.parametrize("name", wm_gym.__all__)
def test_every_public_name_resolves(name):
    assert getattr(wm_gym, name) is not None
    assert name in dir(wm_gym)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Episodes'"):
        wm_gym.Episodes  # noqa: B018
