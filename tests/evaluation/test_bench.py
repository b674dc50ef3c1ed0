"""Who plays the held-out episodes."""

import pytest

from wm_gym.evaluation.bench import Bench, PanelMember, ReportConfig
from wm_gym.evaluation.returns import Contender


def held_out_policy(task, panel=(), contenders=()):
    bench = Bench(task, None, None, ReportConfig(), contenders, panel=panel)
    return bench._held_out_actors().get("policy")


def member(name, returned, kind="trained"):
    return PanelMember(name, kind, name, returned)


def test_the_trained_policy_of_median_return_plays(task):
    panel = [member("best", 9.0), member("worst", 1.0), member("script", 4.0, "scripted"), member("middle", 3.0)]
    assert held_out_policy(task, panel) == "middle"
    unknown = [member("unknown", float("nan")), member("good", 2.0), member("poor", 1.0)]
    assert held_out_policy(task, unknown) == "poor", "a policy whose return is not known counts as the worst"


@pytest.mark.parametrize("kind", ["imagination", "control"])
def test_an_agent_goes_before_the_panel(task, kind):
    assert held_out_policy(task, [member("middle", 3.0)], [Contender("a", kind, "agent")]) == "agent"


def test_nobody_plays_where_nobody_is_trained(task):
    assert held_out_policy(task, [member("script", 4.0, "scripted")], [Contender("r", "random", "r")]) is None
