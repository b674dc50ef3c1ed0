"""What the README tells a person to type works."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORTER = {
    "num_envs=256": "num_envs=8",
    "batch_size=1600": "batch_size=100",
    "800_000": "400",
    "n_eval_episodes=50": "n_eval_episodes=2",
}
"""The quick start's numbers, and those that only show that it runs."""


def _quick_start():
    section = README.partition("## Quick start")[2]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]


def test_the_quick_start_runs(tmp_path):
    code = _quick_start()
    for number, small in SHORTER.items():
        assert number in code, f"the quick start has changed: {number} is gone"
        code = code.replace(number, small)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"return in MuJoCo: -\d+\.\d \+- \d+\.\d \(random actions: about -43\)\n", done.stdout)


def test_the_quick_start_is_twelve_lines():
    assert len(_quick_start().strip().splitlines()) <= 12


def test_every_link_leads_to_a_file():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{name} links to {target}, which does not exist"


def test_every_command_names_a_program_and_settings_that_exist():
    """The programs' own --help is asked, so that a renamed setting is met here."""
    commands = re.findall(
        r"`python ((?:\w+/\w+\.py|-m wm_gym\.\w+) [^`]*=[^`]*)`", README.partition("## The programs")[2]
    )
    assert len(commands) == 19
    for command in commands:
        program = command.split()[:2] if command.startswith("-m") else command.split()[:1]
        helped = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert helped.returncode == 0, helped.stderr
        for setting in re.findall(r"(\w+)=", command):
            assert re.search(rf"^  {setting}\b", helped.stdout, re.MULTILINE), f"{command}: {setting} does not exist"


def test_the_tree_names_every_room():
    tree = README.partition("## The tree")[2].partition("##")[0]
    for room in (*(ROOT / "wm_gym").glob("*/__init__.py"), *ROOT.glob("*/*_*.py")):
        assert f"{room.parent.name}/" in tree, f"{room.parent.name}/ has no line in the README's tree"
