"""Data never names code that is run, and nothing names a path of one machine."""

import ast
import re
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("wm_gym", "datasets", "agents", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
TEXTS = [
    *(path for pattern in ("*.md", "*.toml", "*.txt", "Makefile", ".ci/run") for path in ROOT.glob(pattern)),
    *(path for folder in ("docs", "datasets", "benchmarks") for path in (ROOT / folder).rglob("*.md")),
    *(ROOT / "datasets").rglob("*.yaml"),
]
BANNED_IMPORTS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BANNED_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "turns text into code",
    "torch.load": "reads pickle; use safetensors",
    "torch.save": "writes pickle; use safetensors",
    "yaml.load": "builds any object; use safe_load",
    "hydra.utils.instantiate": "calls what a configuration names",
    "instantiate": "calls what a configuration names",
    "EnvSpec.from_json": "imports what a text names",
    "os.system": "runs text as a command",
}
SYSTEM = ("/proc/", "/dev/")
"""Absolute paths that are the same on every machine of their kind."""
HOME = re.compile(r"(?<![\w./])/(?:home|Users|root|mnt|srv|opt|tmp|var)/[\w.-]+|\b[A-Z]:\\\\?Users")


def _ids(path):
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=SOURCES, ids=_ids)
def nodes(request):
    return list(ast.walk(ast.parse(request.param.read_text(encoding="utf-8"))))


def _called(node):
    """``a.b.c`` of a call, as far as it is spelt with plain names; methods of other values give no name."""
    parts, target = [], node.func
    while isinstance(target, ast.Attribute):
        parts.insert(0, target.attr)
        target = target.value
    return ".".join([target.id, *parts]) if isinstance(target, ast.Name) else ""


def test_nothing_that_unpickles_is_imported(nodes):
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in imported} & BANNED_IMPORTS


def test_nothing_runs_what_data_names(nodes):
    for node in nodes:
        if isinstance(node, ast.Call):
            name = _called(node)
            for banned, reason in BANNED_CALLS.items():
                hit = name == banned or ("." in banned and name.endswith(f".{banned}"))
                assert not hit, f"line {node.lineno}: {name} {reason}"
            for keyword in node.keywords:
                said = keyword.value.value if isinstance(keyword.value, ast.Constant) else "an expression"
                allowed = keyword.arg not in ("allow_pickle", "shell") or said is False
                assert allowed, f"line {node.lineno}: {keyword.arg}={said}"


def test_no_configuration_names_a_class():
    for path in [*SOURCES, *(ROOT / "datasets").rglob("*.yaml")]:
        assert "_target_" not in path.read_text(encoding="utf-8"), f"{_ids(path)}: names map to classes by a registry"


def test_a_zip_of_sb3_is_loaded_in_one_place_only():
    """It is pickle: ``load_policy`` asks for trust before it opens one."""
    loaders = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if re.search(r"\b(PPO|SAC|TD3|A2C|DDPG|BaseAlgorithm|VecNormalize|algorithm)\.load\(|\.set_parameters\(", text):
            loaders.append(_ids(path))
    assert loaders == ["wm_gym/policies/policy.py"]


def test_no_string_is_an_absolute_path(nodes):
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            path = PurePosixPath(node.value)
            fine = not path.is_absolute() or len(path.parts) < 3 or node.value.startswith(SYSTEM)
            assert fine, f"line {node.lineno}: {node.value!r}"


@pytest.mark.parametrize("path", [*SOURCES, *TEXTS], ids=_ids)
def test_no_text_names_a_folder_of_one_machine(path):
    found = HOME.search(path.read_text(encoding="utf-8"))
    assert not found, f"{_ids(path)} names {found[0]}"


def test_nothing_is_written_under_its_final_name(nodes, request):
    """``files.replacing`` gives the name to write to, so that a kill leaves the old file or the new one."""
    if "wm_gym/testing" in request.node.callspec.id:  # which damages files on purpose
        return
    for call in (node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        to = ast.unparse(call.func.value)
        fine = to == "partial" or to.startswith("new[") or SYSTEM[0] in to
        assert fine or call.func.attr not in ("write_text", "write_bytes"), f"line {call.lineno}: {to}"
