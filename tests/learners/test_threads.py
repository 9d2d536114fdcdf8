"""LightGBM's number of threads is one for the process: whoever wants another one waits."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest

from uplift.data.simulator.worlds import make_world
from uplift.learners import fit_together, make_learner
from uplift.learners._threads import Turnstile

SOON = 10.0


def enter(gate, number, inside, leave):
    with gate(number):
        inside.set()
        assert leave.wait(SOON)


def test_the_same_number_together_another_one_after_them():
    gate, pool = Turnstile(), ThreadPoolExecutor(4)
    inside, leave = ([threading.Event() for _ in range(4)] for _ in range(2))
    done = [pool.submit(enter, gate, 1, inside[k], leave[k]) for k in (0, 1)]
    assert inside[0].wait(SOON)
    assert inside[1].wait(SOON), "the same number need not wait"
    done.append(pool.submit(enter, gate, 2, inside[2], leave[2]))
    assert not inside[2].wait(0.1)
    done.append(pool.submit(enter, gate, 1, inside[3], leave[3]))
    assert not inside[3].wait(0.1), "nobody overtakes one who waits, or they might wait for ever"
    leave[0].set()
    assert not inside[2].wait(0.1)
    leave[1].set()
    assert inside[2].wait(SOON)
    assert not inside[3].is_set()
    leave[2].set()
    assert inside[3].wait(SOON)
    leave[3].set()
    for one in done:
        one.result()


def test_an_error_inside_lets_the_next_one_in():
    gate = Turnstile()
    with pytest.raises(ZeroDivisionError), gate(1):
        raise ZeroDivisionError
    with gate(2):
        pass


def test_who_gives_up_waiting_holds_up_nobody(monkeypatch):
    gate = Turnstile()
    with monkeypatch.context() as patched:
        patched.setattr(gate, "_may_enter", lambda number: 1 / 0)
        with pytest.raises(ZeroDivisionError), gate(1):
            pass
    with gate(2):
        pass


class Watch:
    """Who is in LightGBM, with how many threads; every call is made to last."""

    def __init__(self, monkeypatch):
        self.lock, self.inside, self.seen = threading.Lock(), [], set()
        construct, init = lightgbm.Dataset.construct, lightgbm.Booster.__init__
        update, predict = lightgbm.Booster.update, lightgbm.Booster.predict

        def watched_construct(data):
            whole = data.reference if data.used_indices is not None else data
            return self.at(data._handle is None and whole.params["num_threads"], construct, data)

        def watched_init(booster, params=None, train_set=None, model_file=None, model_str=None):
            booster.number = params and params["num_threads"]
            return self.at(booster.number, init, booster, params, train_set, model_file, model_str)

        monkeypatch.setattr(lightgbm.Dataset, "construct", watched_construct)
        monkeypatch.setattr(lightgbm.Booster, "__init__", watched_init)
        monkeypatch.setattr(lightgbm.Booster, "update", lambda one, *a, **k: self.at(one.number, update, one, *a, **k))
        monkeypatch.setattr(
            lightgbm.Booster, "predict", lambda one, *a, **k: self.at(k["num_threads"], predict, one, *a, **k)
        )

    def at(self, number, call, *given, **named):
        if not number:
            return call(*given, **named)
        with self.lock:
            self.inside.append(number)
            self.seen.add(tuple(sorted(set(self.inside))))
        time.sleep(0.002)
        try:
            return call(*given, **named)
        finally:
            with self.lock:
                self.inside.remove(number)


@pytest.mark.parametrize("rows_per_tree", [300, None])
def test_learners_never_ask_for_two_numbers_at_a_time(rows_per_tree, monkeypatch):
    """Where models grow side by side, a thread each, and what they share is made with all threads."""
    world = make_world(3000, arms=("a", "b"), outcome="continuous", random_state=0)
    settings = {
        "control": "control", "n_estimators": 12, "min_child_samples": 20, "rows_per_tree": rows_per_tree,
        "random_state": 0,
    }  # fmt: skip
    wanted = {name: make_learner(name, n_jobs=2, **settings) for name in ("S", "T", "X", "DR")}
    wanted["other bins"] = make_learner("DR", n_jobs=2, extra_params={"max_bin": 30}, **settings)
    alone = {name: make_learner(name, n_jobs=1, **settings) for name in ("S", "X")}
    with monkeypatch.context() as patched:
        watch = Watch(patched)
        fitted = fit_together(wanted, world.X, world.y, world.treatment, propensity=world.propensity)
        with ThreadPoolExecutor(2) as pool:
            effects = list(pool.map(lambda name: fitted[name].predict(world.X), fitted))
    assert watch.seen == {(1,), (2,)}
    for name, learner in alone.items():
        learner.fit(world.X, world.y, world.treatment, propensity=world.propensity)
        np.testing.assert_array_equal(effects[list(fitted).index(name)], learner.predict(world.X))
