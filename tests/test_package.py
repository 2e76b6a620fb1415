"""The shape of the package itself."""

import ast
import inspect
import re

import keras
import pytest

import keras_convinit

pytestmark = pytest.mark.once

# Arrows of import point up this list. Modules in one row do not know each other.
ORDER = [
    {"_types"},
    {
        "_checks",
        "_event_file",
        "_registry",
        "_closed_forms",
        "_contents",
        "_precision",
        "_kinds",
        "_interruption",
        "_printable",
        "_masks",
        "backend",
    },
    {"_copies", "_data"},
    {"_loss"},
    {"activations", "geometry", "optimizers"},
    {"kernels"},
    {"scales"},
    {"initializers"},
    {"layers"},
    {"analysis"},
    {"schemes", "diagnostics"},
    {"lab"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}


def sources(root):
    return sorted((root / "keras_convinit").rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name):
    """The part of the package that a module belongs to."""
    return name.split(".")[1] if name.count(".") else None


def test_arrows_of_import_point_one_way(root):
    checked = 0
    for path in sources(root):
        parts = path.relative_to(root / "keras_convinit").with_suffix("").parts
        here = parts[0]
        if here in ("__init__", "__main__"):
            continue
        assert here in RANK, f"{path} has no place in the order"
        for name in imported(path):
            there = room(name) if name.startswith("keras_convinit.") else None
            if there is None or there == here or there not in RANK:
                continue
            assert RANK[there] < RANK[here], f"{path} imports {name}"
            checked += 1
    assert checked > 10


def test_the_core_does_not_know_the_lab(root):
    for path in sources(root):
        parts = path.relative_to(root / "keras_convinit").parts
        if parts[0] in ("lab", "__main__.py"):
            continue
        assert not any("keras_convinit.lab" in name for name in imported(path)), path


def test_a_stack_is_opened_in_one_place(root):
    inside = {"_branch", "_stacked", "_input_shape"}
    named = set()
    for path in sources(root):
        parts = path.relative_to(root / "keras_convinit").parts
        if parts[0] in ("layers", "lab"):
            continue
        if any("ScaledResidualStack" in name for name in imported(path)):
            named.add("/".join(parts))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in inside:
                own = isinstance(node.value, ast.Name) and node.value.id == "self"
                assert own, f"{path}:{node.lineno} knows how a stack is made"
    assert named == {"analysis/composites.py"}


def test_frameworks_are_named_in_one_place(root):
    for path in sources(root):
        parts = path.relative_to(root / "keras_convinit").parts
        if parts[0] in ("lab", "backend"):
            continue
        frameworks = {"tensorflow", "jax", "torch"}
        assert not frameworks & {name.split(".")[0] for name in imported(path)}, path


def test_private_modules_stay_in_their_package(root):
    for path in sources(root):
        parts = path.relative_to(root / "keras_convinit").parts
        for name in imported(path):
            names = name.split(".")
            if names[0] == "keras_convinit" and len(names) > 2:
                private = any(each.startswith("_") for each in names[2:])
                assert not private or parts[0] == names[1], f"{path} imports {name}"


def test_private_keras_is_used_nowhere(root):
    used, owned = {}, set()
    for path in sources(root):
        assert not any(name.startswith("keras.src") for name in imported(path)), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                owned.add(node.name)
            elif isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
                if isinstance(node.ctx, ast.Store):
                    owned.add(node.attr)
                else:
                    used[node.attr] = path
    assert used
    assert not set(used) - owned, {name: used[name] for name in set(used) - owned}


@pytest.mark.everywhere
def test_the_import_is_light(fresh_process):
    printed = fresh_process(
        """
        import sys
        import keras
        before = set(sys.modules)
        import keras_convinit
        print("NEW", sorted(m for m in set(sys.modules) - before))
        """
    )
    (new,) = re.findall(r"^NEW (.*)$", printed, re.MULTILINE)
    heavy = {"matplotlib", "tensorflow_datasets", "sklearn", "rich", "typer"}
    frameworks = {"tensorflow", "jax", "torch"}
    roots = {name.split(".")[0] for name in ast.literal_eval(new)}
    assert not roots & (heavy | frameworks)
    # What reads whole models waits until it is asked for; so does the lab.
    late = {
        f"keras_convinit.{m}" for m in ("analysis", "diagnostics", "lab", "schemes")
    }
    assert not late & set(ast.literal_eval(new))


@pytest.mark.everywhere
def test_what_waits_is_there_when_it_is_asked_for(fresh_process):
    printed = fresh_process(
        """
        import keras_convinit
        assert set(keras_convinit.__all__) <= set(dir(keras_convinit))
        assert "initialize" not in vars(keras_convinit)
        from keras_convinit import initialize
        assert initialize is keras_convinit.schemes.initialize
        for name in keras_convinit.__all__:
            assert getattr(keras_convinit, name) is getattr(keras_convinit, name)
        from keras_convinit import *
        assert signal_report is keras_convinit.diagnostics.signal_report
        try:
            keras_convinit.initialise
        except AttributeError as error:
            print(error)
        """
    )
    assert "module 'keras_convinit' has no attribute 'initialise'" in printed


def test_the_table_of_the_readme_is_the_registry(root):
    aliases = {
        alias
        for alias, cls in keras.saving.get_custom_objects().items()
        if ">" not in alias and cls.__module__.startswith("keras_convinit.")
    }
    rows = re.findall(r'^\| `"(\w+)"` \|', (root / "README.md").read_text(), re.M)
    assert sorted(rows) == sorted(aliases)


def test_every_class_is_registered_under_its_full_name():
    for name, cls in keras.saving.get_custom_objects().items():
        if name.startswith("keras_convinit>"):
            assert name == f"keras_convinit>{cls.__name__}"


PUBLIC = [
    (name, getattr(module, name))
    for module in (
        keras_convinit,
        keras_convinit.diagnostics,
        keras_convinit.analysis,
        keras_convinit.initializers,
        keras_convinit.layers,
        keras_convinit.optimizers,
        keras_convinit.schemes,
    )
    for name in module.__all__
    if callable(getattr(module, name))
]


# Made by functions of the package, and read.
DATA = {
    "Kernel",
    "RelativeChange",
    "LayerContext",
    "ScaledVariable",
    "SearchProblem",
}


@pytest.mark.parametrize(("name", "thing"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_everything_public_is_documented(name, thing):
    documentation = inspect.getdoc(thing)
    assert "Args:" in documentation or not inspect.signature(thing).parameters
    assert "Example" in documentation or name in DATA
    described = set(re.findall(r"^ +\**(\w+): ", documentation, re.M))
    parameters = set(inspect.signature(thing).parameters)
    if "args" in described:
        # Those of the ordinary layer are described there.
        ordinary = inspect.signature(thing.ordinary_class).parameters
        parameters -= set(ordinary)
        parameters.add("gain_initializer")
    assert parameters <= described, parameters - described
    if "et al." in documentation:
        assert re.search(r"eq\.|algorithm|theorem|Table", documentation)


def test_the_version_is_the_one_installed():
    from importlib import metadata

    assert metadata.version("keras_convinit") == keras_convinit.__version__
