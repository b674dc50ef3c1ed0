"""``python benchmarks/gather_agents.py`` as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wm_gym.data.episodes import open_dataset

ROOT = Path(__file__).resolve().parents[2]
PROGRAM, COLLECT = ROOT / "benchmarks" / "gather_agents.py", ROOT / "datasets" / "collect_episodes.py"


def agent(folder, world="imagination", algorithm="ppo", seed=0, task="reacher", mean=-4.0, steps=300, **settings):
    interval = {"value": mean, "low": mean - 1, "high": mean + 1}
    dreamt = {"value": mean + 2, "low": 0.0, "high": 0.0} if world == "imagination" else None
    trial = {algorithm: {"physical": interval, "imagined": dreamt, "gap": None, "physical_returns": [mean, mean]}}
    result = {
        "task": task,
        "algorithm": algorithm,
        "world": world,
        "seed": seed,
        "steps": steps,
        "real_steps": 100,
        "trial": trial,
        "settings": {"uncertainty": "report", "penalty": 0.5} | settings,
        "wall_seconds": 12.5,
        "command": f"python train {algorithm} seed={seed}",
        "machine": {"processor": "abacus", "cores": 2},
    }
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def gather(*arguments):
    return subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, check=False)


def test_rows_are_sorted_and_hold_what_the_agents_hold(tmp_path):
    folders = [
        agent(tmp_path / "b", seed=1, mean=-5.0),
        agent(tmp_path / "c", world="physics", algorithm="sac", mean=-6.0),
        agent(tmp_path / "a", seed=0),
    ]
    done = gather(f"agents=[{','.join(map(str, folders))}]", f"output={tmp_path / 'table.json'}")
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "table.json").read_text())
    assert [(r["method"], r["seed"], r["physical_return"], r["imagined_return"]) for r in table["rows"]] == [
        ("PPO in imagination", 0, -4.0, -2.0),
        ("PPO in imagination", 1, -5.0, -3.0),
        ("SAC in MuJoCo", 0, -6.0, None),
    ]
    assert table["rows"][0]["episode_returns"] == [-4.0, -4.0] and table["machine"] == "abacus, 2 cores"
    assert table["command"] == "python train ppo seed=0 (likewise seed 1); python train sac seed=0"


def test_what_was_done_about_uncertainty_makes_another_method(tmp_path):
    folders = [agent(tmp_path / kind, uncertainty=kind) for kind in ("report", "penalize", "truncate")]
    folders.append(agent(tmp_path / "omitting", uncertainty="omit", seed=1))
    folders.append(agent(tmp_path / "imitating", uncertainty="penalize", imitate="logs"))
    done = gather(f"agents=[{','.join(map(str, folders))}]", f"output={tmp_path / 'table.json'}")
    assert done.returncode == 0, done.stderr
    methods = [row["method"] for row in json.loads((tmp_path / "table.json").read_text())["rows"]]
    assert methods == [
        "PPO in imagination",
        "PPO in imagination",
        "PPO in imagination, begun as the best third of the logs, penalized by 0.5",
        *(f"PPO in imagination, {how}" for how in ("penalized by 0.5", "truncated")),
    ]


def test_what_acted_in_the_best_third_of_the_logs_has_a_row(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(COLLECT),
            "task=reacher",
            "cameras=[]",
            "num_steps=300",
            "workers=1",
            f"output={tmp_path / 'logs'}",
            "behaviours={random:0.5,smooth:0.5}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folders = [agent(tmp_path / "a", imitate="logs"), agent(tmp_path / "b", steps=0, imitate="logs", imitate_share=0.1)]
    given = [f"agents=[{','.join(map(str, folders))}]", f"output={tmp_path / 'table.json'}"]
    done = gather(*given, f"logs={tmp_path / 'logs'}")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["method"] for row in rows] == [
        "PPO in imagination, begun as the best third of the logs",
        "imitation of the best 10% of the logs alone",
        "what acted in the best third of the logs",
    ]
    returns = sorted((float(e.rewards.sum()) for e in open_dataset(tmp_path / "logs").episodes()), reverse=True)
    assert rows[2]["physical_return"] == pytest.approx(sum(returns[:2]) / 2)  # 100 of 300 steps: two episodes of 50
    folders = [agent(tmp_path / "c", task="hopper")]
    done = gather(f"agents=[{folders[0]}]", f"output={tmp_path / 'other.json'}", f"logs={tmp_path / 'logs'}")
    assert done.returncode == 1 and "is of reacher, the agents of hopper" in done.stderr


def test_agents_of_two_robots_share_no_table(tmp_path):
    folders = [agent(tmp_path / "a"), agent(tmp_path / "b", task="hopper")]
    done = gather(f"agents=[{','.join(map(str, folders))}]", f"output={tmp_path / 'table.json'}")
    assert done.returncode == 1 and "hopper, reacher" in done.stderr and not (tmp_path / "table.json").exists()


def test_a_missing_agent_is_named(tmp_path):
    done = gather(f"agents=[{tmp_path / 'nobody'}]", f"output={tmp_path / 'table.json'}")
    assert done.returncode == 1 and "nobody" in done.stderr and len(done.stderr.splitlines()) == 1
