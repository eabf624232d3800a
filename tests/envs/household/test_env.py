"""The Gymnasium interface of `kintsugi/Household-v0`."""

import random

import gymnasium
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.experts import HouseholdExpert
from kintsugi.envs import register_all
from kintsugi.envs.checks import check_agent_env
from kintsugi.envs.household import HouseholdEnv
from kintsugi.errors import UsageError

TASKS = HouseholdEnv.tasks("train", 12)


def start_episode(index=0, **arguments):
    env = HouseholdEnv(**arguments)
    observation, info = env.reset(options={"task": TASKS.tasks[index]})
    return env, observation, info


@pytest.mark.parametrize("size", ["small", "medium", "kitchen"])
def test_environment_conforms(size):
    register_all()
    env = gymnasium.make("kintsugi/Household-v0")
    check_agent_env(env.unwrapped, task=HouseholdEnv.tasks("train", 1, size=size).tasks[0])


def test_first_observation_has_a_banner_only_on_request():
    _, observation, info = start_episode()
    assert observation.startswith("You are in the middle of a room. Looking quickly around you, you see a ")
    assert observation.endswith(f"\n\nYour task is to: {info['goal']}")
    assert start_episode(banner=True)[1] == "-= Welcome to TextWorld, ALFRED! =-\n\n" + observation
    assert info["score"] == 0.0
    assert "look" in info["admissible"]
    assert info["task_id"] == TASKS.tasks[0].id


def test_episode_is_truncated_after_fifty_steps():
    env, *_ = start_episode()
    for step in range(1, 51):
        observation, reward, terminated, truncated, info = env.step("look")
        assert (reward, terminated, truncated) == (0.0, False, step == 50)
    assert info["success"] is False
    assert observation.endswith("you see nothing.")


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("", "the action is empty"),
        ("dance", "'dance' is not a command; help lists them"),
        ("x" * 100_000, "100000 characters"),
        ("look\x00", "unprintable"),
        ("take mug 1 from desk 9", "there is no receptacle desk 9"),
        ("go to moon 1", "there is no receptacle moon 1"),
        ("move mug 1 to desk 1", "you are not at desk 1"),
        ("examine mug 1", "you do not hold mug 1"),
        ("use desklamp 7", "is not here"),
        ("Look", "not a command"),
        ("\ud800", "not a command"),
        (7, "an action is a text, not int"),
        (None, "an action is a text, not NoneType"),
    ],
)
def test_refusal_gives_a_reason(action, reason):
    env, _, before = start_episode()
    observation, reward, terminated, truncated, info = env.step(action)
    assert (observation, reward, terminated, truncated) == ("Nothing happens.", 0.0, False, False)
    assert reason in info["invalid"]
    assert len(info["invalid"]) < 300
    assert info["admissible"] == before["admissible"]


@given(st.text(max_size=300) | st.sampled_from(["take  from ", "go to ", "move a to b with c", "heat x with", "open"]))
def test_no_text_crashes(action):
    env, _, info = start_episode()
    observation, *_, after = env.step(action)
    assert (observation == "Nothing happens.") == ("invalid" in after) == (action.strip() not in info["admissible"])


@given(st.integers(0, 11), st.integers(0, 2**32), st.integers(0, 30), st.integers(1, 15))
def test_snapshots_are_exact(index, seed, before, after):
    rng = random.Random(seed)
    env, _, info = start_episode(index)

    def walk(n, actions=None):
        nonlocal info
        outcomes = []
        for number in range(n):
            if env._finished:
                break
            action = actions[number] if actions else rng.choice([*info["admissible"], "dance"])
            outcomes.append((action, env.step(action)))
            info = outcomes[-1][1][4]
        return outcomes

    walk(before)
    snapshot = env.snapshot()
    first = walk(after)
    env.restore(snapshot)
    assert walk(len(first), [action for action, _ in first]) == first
    other = HouseholdEnv()
    other.restore(snapshot)
    assert [(action, other.step(action)) for action, _ in first] == first


def test_success_is_rewarded_once():
    env, _, info = start_episode(0)
    world = env._engine.game
    thing = next(thing for thing in world.objects if thing.kind == world.goal.object)
    place = world.receptacles[thing.inside[0]]
    target = next(receptacle for receptacle in world.receptacles if receptacle.kind == world.goal.target)
    commands = [f"go to {place.name}", f"open {place.name}", f"take {thing.name} from {place.name}"]
    commands += [f"go to {target.name}", f"open {target.name}", f"move {thing.name} to {target.name}"]
    for command in commands:
        _, reward, terminated, truncated, info = env.step(command)
    assert (reward, terminated, truncated, info["success"], info["score"]) == (1.0, True, False, True, 1.0)
    with pytest.raises(UsageError, match="call reset first"):
        env.step("look")


def test_reset_without_a_task_draws_one():
    env = HouseholdEnv()
    _, info = env.reset(seed=5)
    assert HouseholdEnv().reset(seed=5)[1]["task_id"] == info["task_id"]
    assert info["task_id"].startswith("small/train/")


def test_use_before_the_first_reset_is_refused():
    for call in (HouseholdEnv().snapshot, lambda: HouseholdEnv().step("look")):
        with pytest.raises(UsageError, match="reset"):
            call()


@pytest.mark.parametrize(
    ("actions", "detours"),
    [
        ([], set()),
        (["go to desk 1", "go to bed 1", "go to shelf 1"], set()),
        (["go to desk 1", "go to bed 1", "look", "go to desk 1", "take pen 1 from desk 1"], {1, 2, 3}),
        (["go to desk 1", "go to bed 1", "open bed 1", "go to desk 1"], set()),
        (["go to desk 1", "go to bed 1", "take pen 1 from bed 1", "go to shelf 1", " go to bed 1 "], {3, 4}),
        (["go to desk 1", "go to bed 1", "go to desk 1", "go to bed 1"], {1, 2}),
        (["look", "examine pen 1", "inventory"], set()),
    ],
)
def test_walks_that_lead_back_without_a_change_are_overwritten(actions, detours):
    assert HouseholdEnv.overwritten(actions) == detours


@given(st.integers(0, 11), st.randoms(use_true_random=False))
def test_an_attempt_passes_without_its_detours(index, rng):
    """The expert plays, and now and then walks somewhere and back."""
    env, observation, info = start_episode(index, max_steps=500)
    expert, here, actions, done = HouseholdExpert(observation), "", list[str](), False
    while not done:
        walks = [action for action in info["admissible"] if action.startswith("go to ")]
        strays = bool(here and walks) and rng.random() < 0.3
        detour = [*rng.choices(walks, k=rng.randint(1, 3)), here] if strays else list[str]()
        _, advised = expert.advise()
        here = advised if advised.startswith("go to ") else here
        for action in [*detour, advised]:
            observation, _, done, _, info = env.step(action)
            if "invalid" not in info:
                actions.append(action)
        expert.observe(advised, observation)
    direct = [action for i, action in enumerate(actions) if i not in HouseholdEnv.overwritten(actions)]
    again, *_ = start_episode(index, max_steps=500)
    assert [again.step(action)[2] for action in direct][-1]
    assert HouseholdEnv.overwritten(direct) == set()
