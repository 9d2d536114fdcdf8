"""Every example in the docstrings runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import uplift.experiments as room

MODULES = [f"{room.__name__}.{module.name}" for module in pkgutil.iter_modules(room.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [one for name in MODULES for one in finder.find(importlib.import_module(name)) if one.examples]
    assert len(found) > 15
