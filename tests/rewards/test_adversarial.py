"""GAIL and AIRL against imitation 1.0.1, and what imitation leaves to chance against definitions."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.config import EnvConfig, TrainConfig
from rcjax.rewards import adversarial, discriminator
from rcjax.rewards.adversarial import AdversarialReward, Learner
from rcjax.rewards.choose import make_source
from rcjax.rewards.config import DiscriminatorConfig
from rcjax.rewards.discriminator import Discriminator, Norms
from rcjax.rewards.expert_order import next_batch
from rcjax.rewards.running_norm import RunningNorm
from rcjax.rewards.source import SeenEpisodes
from rcjax.types import Transitions
from tests.generators.adversarial import (
    ACTION_SIZE,
    BATCH_SIZE,
    FIELDS,
    N_ENVS,
    N_EXPERT_EPISODES,
    N_STEPS,
    N_UPDATES,
    OBS_SIZE,
)

FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # sums of at most 32 products, in another order than torch's


def subtree(record, prefix):
    return {key.removeprefix(f"{prefix}/"): x for key, x in record.items() if key.startswith(f"{prefix}/")}


def layers(arrays, network):
    names = ("0", "1", "final")
    return [
        {kind: jnp.asarray(arrays[f"{network}/{name}/{kind}"]) for kind in ("kernel", "bias")}
        for name in names
        if f"{network}/{name}/kernel" in arrays
    ] or None


def networks_of(record, prefix):
    arrays = subtree(record, prefix)
    return Discriminator(base=layers(arrays, "base"), potential=layers(arrays, "potential"))


def norm_of(arrays, name):
    if f"norms/{name}/mean" not in arrays:
        return None
    return RunningNorm(**{x: jnp.asarray(arrays[f"norms/{name}/{x}"], jnp.float32) for x in ("mean", "var", "count")})


def norms_of(record, prefix):
    arrays = subtree(record, prefix)
    return Norms(base=norm_of(arrays, "base"), potential=norm_of(arrays, "potential"))


def policy_of(record):
    policy = {}
    for name, array in subtree(record, "policy").items():
        *path, leaf = name.split("/")
        node = policy
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = jnp.asarray(array)
    return policy


def transitions_of(record, prefix, index=...):
    return Transitions(**{name: jnp.asarray(record[f"{prefix}/{name}"][index]) for name in FIELDS.values()})


def source_of(case, **changes):
    config = DiscriminatorConfig(
        demo_batch_size=BATCH_SIZE,
        n_disc_updates=N_UPDATES,
        disc_normalize_input=case.normalize_input,
        disc_normalize_output=case.normalize_output,
    )
    return AdversarialReward(
        kind=case.kind,
        config=dataclasses.replace(config, **changes),
        obs_size=OBS_SIZE,
        action_size=ACTION_SIZE,
        round_size=N_STEPS * N_ENVS,
        n_expert=N_EXPERT_EPISODES * N_STEPS,
        drop_time=False,
    )


def state_of(source, record, prefix):
    networks = networks_of(record, prefix)
    learner = Learner(networks=networks, norms=norms_of(record, prefix), opt_state=source._optimizer.init(networks))
    state = source.init_state(jax.random.key(0))
    # imitation's output statistics of `after` are those of the first round's rewards
    return state.replace(learner=learner, reward_norm=norm_of(subtree(record, prefix), "output"))


def episodes_of(record, prefix):
    arrays = subtree(record, prefix)
    rollout = SimpleNamespace(
        obs=jnp.asarray(arrays["obs"]),
        action=jnp.asarray(arrays["action"]),
        terminated=jnp.zeros((N_STEPS, N_ENVS), bool),
    )
    return SimpleNamespace(rollout=rollout, final_obs=jnp.asarray(arrays["next_obs"][-1]))


def seen(episodes):
    return SeenEpisodes.of_leaves(episodes=episodes, embedding=None)


def check_trees(got, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), got, expected)


def test_transitions_are_those_of_imitations_buffer(imitation):
    _, record = imitation
    got = adversarial.episode_transitions(episodes_of(record, "round0"))
    check_trees(got, transitions_of(record, "round0"), rtol=0, atol=0)


@pytest.mark.parametrize("prefix", [("before", "round0"), ("after", "round1")])
def test_rewards_of_a_round(imitation, prefix):
    """Oracle: what PPO of imitation was paid at each step, before and after the discriminator learned."""
    case, record = imitation
    networks, played = prefix
    source = source_of(case)
    state, reward = source.reward(state_of(source, record, networks), seen(episodes_of(record, played)), None)
    np.testing.assert_allclose(reward, record[f"{played}/reward"], **FLOAT32)
    if case.normalize_output and networks == "before":
        expected = norm_of(subtree(record, "after"), "output")
        check_trees(state.reward_norm, expected, **FLOAT32)


def test_steps_of_the_discriminator(imitation):
    """Oracle: parameters, statistics and logs of imitation after five steps of Adam on the same batches."""
    case, record = imitation
    source, policy = source_of(case), policy_of(record)
    learner = state_of(source, record, "before").learner
    step = jax.jit(source.train_step)
    for i in range(N_UPDATES):
        expert, generated = (transitions_of(record, name, i) for name in ("expert", "generated"))
        learner, metrics = step(learner, expert, generated, policy)
        for name, value in metrics.items():
            np.testing.assert_allclose(value, record[f"metric/{name}"][i], **FLOAT32)
    check_trees(learner.networks, networks_of(record, "after"), **FLOAT32)
    check_trees(learner.norms, norms_of(record, "after"), **FLOAT32)


def test_gradient_of_the_first_step(imitation):
    """Oracle: torch's gradients of the binary cross-entropy, of every parameter."""
    case, record = imitation
    source = source_of(case)
    learner = state_of(source, record, "before").learner
    expert, generated = (transitions_of(record, name, 0) for name in ("expert", "generated"))
    batch = jax.tree.map(lambda *x: jnp.concatenate(x), expert, generated)
    offset = source._log_prob(policy_of(record), batch) if case.kind == "airl" else 0.0

    def loss(networks):
        score, _ = discriminator.evaluate_in_training(networks, learner.norms, batch)
        return discriminator.classification_loss(score - offset, jnp.repeat(jnp.array([1.0, 0.0]), BATCH_SIZE))

    check_trees(jax.grad(loss)(learner.networks), networks_of(record, "gradient"), **FLOAT32)


def fresh(**changes):
    """A GAIL source for 2 steps of 3 environments and 5 transitions of an expert, and its state."""
    source = AdversarialReward(
        kind="gail", config=DiscriminatorConfig(**changes), obs_size=2, action_size=1, round_size=6, n_expert=5,
        drop_time=False,
    )  # fmt: skip
    return source, source.init_state(jax.random.key(0))


def numbered(first, n):
    number = jnp.arange(first, first + n, dtype=jnp.float32)
    pairs = jnp.stack([number, number], axis=1)
    return Transitions(obs=pairs, action=pairs[:, :1], next_obs=pairs, done=jnp.zeros(n))


def test_the_buffer_keeps_the_newest_transitions():
    _, state = fresh(disc_buffer_size=8)
    buffer = adversarial._appended(state.buffer, numbered(1, 6))
    assert int(buffer.count) == 6
    drawn = adversarial._sampled(jax.random.key(0), buffer, 1000).obs[:, 0]
    assert sorted(set(drawn.tolist())) == [1, 2, 3, 4, 5, 6]  # with replacement, and nothing that was not put in
    buffer = adversarial._appended(buffer, numbered(7, 6))
    assert int(buffer.count) == 8
    drawn = adversarial._sampled(jax.random.key(0), buffer, 1000).obs[:, 0]
    assert sorted(set(drawn.tolist())) == [5, 6, 7, 8, 9, 10, 11, 12]


def test_a_buffer_smaller_than_a_round_keeps_its_end():
    _, state = fresh(disc_buffer_size=4)
    buffer = adversarial._appended(state.buffer, numbered(1, 6))
    assert int(buffer.count) == 4
    np.testing.assert_array_equal(buffer.transitions.obs[:, 0], [3, 4, 5, 6])


def test_the_expert_is_drawn_without_replacement():
    """Five transitions give two batches of two; then a new order is drawn, and the fifth one is left out."""
    _, state = fresh()
    order, expert, seen_orders = state.expert, numbered(0, 5), set()
    for round_ in range(6):
        drawn = []
        for i in range(2):
            batch, order = next_batch(jax.random.key(10 * round_ + i), order, expert, 2)
            drawn += batch.obs[:, 0].tolist()
        assert len(set(drawn)) == 4
        seen_orders.add(tuple(drawn))
    assert len(seen_orders) > 1


def test_settings_give_defaults_that_options_replace():
    """The numbers are those of imitation's documentation (0.3.2) and of its benchmarks (1.0.1)."""
    documented, tuned = DiscriminatorConfig(), DiscriminatorConfig(disc_settings="tuned")
    assert [c.updates(kind) for c in (documented, tuned) for kind in ("gail", "airl")] == [4, 4, 8, 16]
    assert [c.normalizes_output(k) for c in (documented, tuned) for k in ("gail", "airl")] == [False] * 3 + [True]
    given = dataclasses.replace(tuned, n_disc_updates=3, disc_normalize_output=False)
    assert given.updates("airl") == 3 and not given.normalizes_output("airl")


def test_the_whole_demonstration_is_the_default_batch():
    assert fresh()[0].batch_size == 5
    assert dataclasses.replace(fresh()[0], n_expert=2000).batch_size == 1024
    assert fresh(demo_batch_size=3)[0].batch_size == 3


def test_time_can_be_hidden_from_the_discriminator_but_not_from_the_policy():
    config = TrainConfig(reward="gail", discriminator=DiscriminatorConfig(disc_time_in_obs=False))
    env = SimpleNamespace(observation_space=lambda: SimpleNamespace(shape=(39,)), num_actions=4)
    assert make_source(config, env).drop_time and make_source(config, env).obs_size == 40
    without = dataclasses.replace(config, env=EnvConfig(time_in_obs=False))
    assert not make_source(without, env).drop_time and make_source(without, env).obs_size == 39
    source = dataclasses.replace(fresh()[0], drop_time=True)
    state = source.init_state(jax.random.key(0))
    assert state.learner.networks.base[0]["kernel"].shape[0] == 1 + 1  # an observation without time, an action
    assert state.buffer.transitions.obs.shape[-1] == 2
    batch = numbered(0, 4)
    late = batch.replace(obs=batch.obs.at[:, -1].add(1.0), next_obs=batch.next_obs.at[:, -1].add(1.0))
    now, later = (source.train_step(state.learner, batch, x, None)[0] for x in (batch, late))
    check_trees(now, later, rtol=0, atol=0)


def test_layers_are_initialised_as_torch_does():
    """Weights and biases of a layer with n inputs lie between -1/sqrt(n) and 1/sqrt(n), all over that range."""
    (layer,) = discriminator.init_layers(jax.random.key(0), (100, 300))
    for x in layer.values():
        assert 0.095 < float(jnp.max(jnp.abs(x))) <= 0.1
        assert abs(float(jnp.mean(x))) < 0.01
