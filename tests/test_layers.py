"""The layers: which room may import which, and which third-party package."""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wm_gym"
PROGRAM_FOLDERS = ("datasets", "agents", "benchmarks")

BASE = {"types", "errors", "files", "checks"}
"""Rooms without a layer below them."""
ROOMS = {
    # room: (rooms, third-party packages besides numpy)
    "errors": (set(), set()),
    "files": ({"errors"}, set()),
    "checks": ({"errors", "files"}, set()),
    "lock": ({"errors"}, set()),
    "types": (set(), {"torch"}),
    "data": (BASE, {"torch", "av", "cv2", "pyarrow"}),  # torch: a Segment is a batch of tensors
    "physics": (BASE, {"torch", "mujoco", "gymnasium"}),
    "models": (BASE, {"torch", "safetensors"}),
    "envs": (BASE | {"models", "data"}, {"torch", "gymnasium"}),
    "policies": (BASE | {"envs", "physics", "models", "data"}, {"torch", "gymnasium", "stable_baselines3", "tqdm"}),
    "evaluation": (
        BASE | {"policies", "envs", "physics", "models", "data"},
        {"torch", "gymnasium", "mujoco", "stable_baselines3", "av", "cv2", "pyarrow", "scipy"},
    ),
    "registration": (set(), {"gymnasium"}),
    "config": (BASE | {"lock"}, {"hydra", "omegaconf"}),
    "fit_model": (BASE | {"models", "data"}, {"torch", "tqdm"}),
    "train": (BASE | {"fit_model", "models", "data", "config"}, {"torch", "tqdm"}),
    "calibrate": (BASE | {"models", "data", "config"}, {"torch", "tqdm"}),
    "testing": (BASE | {"evaluation", "policies", "models", "data"}, {"torch", "pyarrow", "safetensors"}),
    "verify": (BASE | {"evaluation", "policies", "models", "data"}, {"tqdm"}),
    "__init__": ({"errors", "registration"}, set()),
}
EXCEPTIONS = {
    # What one module may import beyond its room.
    ("wm_gym.envs.sb3", "stable_baselines3"),
    ("wm_gym.evaluation.throughput_physics", "envpool"),  # a rival, timed where it is installed
}
INSIDE_FUNCTIONS = {
    # render() of a state model draws with the robot's own MuJoCo model, which is imported only then.
    ("wm_gym.envs.world_model_env", "Renderer.frame", "wm_gym.physics.camera"),
}
PROGRAMS_MAY_IMPORT = {"numpy", "torch", "tqdm", "wm_gym"}
RIVALS = {"fit_mbrl": {"mbrl"}, "time_mbrl": {"mbrl"}}
"""The library that a program holds against ours, in an environment of its own."""


@dataclass(frozen=True)
class Import:
    """One import statement's target: ``where`` is the function that holds it, or empty at the top level."""

    module: str
    where: str
    line: int


def _modules():
    """Dotted name -> path of every module of the library."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _programs():
    return sorted(path for folder in PROGRAM_FOLDERS for path in (ROOT / folder).rglob("*.py"))


class _Imports(ast.NodeVisitor):
    """Collects the imports of a module; ``import_module`` of a literal counts as one inside a function."""

    def __init__(self, names):
        self.names, self.found, self.scope, self.depth = names, [], [], 0

    def visit_ClassDef(self, node):
        self.scope.append(node.name)
        self.generic_visit(node)
        self.scope.pop()

    def visit_FunctionDef(self, node):
        self.depth += 1
        self.visit_ClassDef(node)
        self.depth -= 1

    def visit_AsyncFunctionDef(self, node):
        self.visit_FunctionDef(node)

    def _add(self, module, node):
        self.found.append(Import(module, ".".join(self.scope) if self.depth else "", node.lineno))

    def visit_Import(self, node):
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node):
        assert node.level == 0, f"line {node.lineno}: write the import's full name"
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            self._add(full if full in self.names else node.module, node)

    def visit_Call(self, node):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
            self._add(node.args[0].value, node)
        self.generic_visit(node)


def _imports(path, names=()):
    visitor = _Imports(names)
    visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
    return visitor.found


MODULES = _modules()
IMPORTS = {name: _imports(path, MODULES) for name, path in MODULES.items()}


def _room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_room_has_a_place_in_the_table():
    assert {_room(module) for module in MODULES} == set(ROOMS), "give a new room its line in ROOMS, and in the README"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_layer_may(module):
    rooms, packages = ROOMS[_room(module)]
    wrong = []
    for found in IMPORTS[module]:
        top = found.module.split(".")[0]
        if top == "wm_gym":
            fine = _room(found.module) in rooms | {_room(module)} and found.module != "wm_gym"
            fine = fine or (bool(found.where) and (module, found.where, found.module) in INSIDE_FUNCTIONS)
        else:
            fine = top in packages | {"numpy"} | sys.stdlib_module_names or (module, top) in EXCEPTIONS
        if not fine:
            wrong.append(f"{MODULES[module].relative_to(ROOT)}:{found.line} imports {found.module}")
    assert not wrong, f"{_room(module)} may import {sorted(rooms)} and {sorted(packages)}: {wrong}"


def test_each_exception_is_still_needed():
    met = {(module, found.module.split(".")[0]) for module, imports in IMPORTS.items() for found in imports}
    inside = {(module, found.where, found.module) for module, imports in IMPORTS.items() for found in imports}
    assert met >= EXCEPTIONS
    assert inside >= INSIDE_FUNCTIONS


def _reached(start):
    """Every module that importing ``start`` runs at the top level, its packages' ``__init__`` among them."""
    seen, waiting = set(), [start]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        parts = module.split(".")
        waiting += [".".join(parts[:n]) for n in range(1, len(parts))]
        waiting += [found.module for found in IMPORTS.get(module, ()) if not found.where]
    return seen


def test_imagination_never_reaches_the_physics_engine():
    """Not even through another room: what the whole of envs and models imports is followed to its end."""
    for start in (module for module in MODULES if _room(module) in ("envs", "models")):
        reached = {module for module in _reached(start) if module.split(".")[0] == "mujoco" or "physics" in module}
        assert not reached, f"importing {start} imports {sorted(reached)}"


def test_a_model_never_knows_an_environment():
    for start in (module for module in MODULES if _room(module) == "models"):
        beyond = {module for module in _reached(start) if module.startswith(("wm_gym.envs", "wm_gym.data"))}
        assert not beyond, f"importing {start} imports {sorted(beyond)}"


def test_no_module_imports_itself_through_others():
    """A cycle is told with its links, so that the weakest can be cut."""
    done = set()

    def follow(module, trail):
        if module in trail:
            pytest.fail("import cycle: " + " -> ".join([*trail[trail.index(module) :], module]))
        if module in done:
            return
        for found in IMPORTS[module]:
            if found.module in MODULES and not found.where:
                follow(found.module, [*trail, module])
        done.add(module)

    for module in MODULES:
        follow(module, [])


def test_no_private_name_leaves_its_module():
    for path in [*MODULES.values(), *_programs()]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wm_gym"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{path.relative_to(ROOT)}:{node.lineno} imports the private {private[0]}"


@pytest.mark.parametrize("path", _programs(), ids=lambda path: path.stem)
def test_a_program_wires_the_library_and_no_other_program(path):
    for found in _imports(path, MODULES):
        top = found.module.split(".")[0]
        allowed = PROGRAMS_MAY_IMPORT | sys.stdlib_module_names | RIVALS.get(path.stem, set())
        assert top in allowed, f"{path.name}:{found.line} imports {found.module}"
    words = path.stem.split("_")
    assert len(words) >= 2, f"{path.name}: a program is called verb_noun.py"


def test_the_folders_whose_names_belong_to_others_are_no_packages():
    for folder in (*PROGRAM_FOLDERS, "tests"):
        assert not list((ROOT / folder).rglob("__init__.py")), f"{folder}/ must not be importable"
    assert not (ROOT / "conftest.py").exists()


def test_no_room_without_a_noun():
    vague = {"utils", "util", "common", "helpers", "misc", "core", "tools"}
    for path in [*MODULES.values(), *_programs()]:
        parts = {*path.relative_to(ROOT).with_suffix("").parts}
        assert not parts & vague, f"{path.relative_to(ROOT)}: name the room after what it holds"
