"""The shape of the package itself."""

import ast
import collections
import configparser
import inspect
import re

import keras
import pytest

import keras_convinit

pytestmark = pytest.mark.once


def rooms(root):
    """The parts of the package in the order of the architecture page."""
    page = (root / "keras_convinit" / "README.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)/?`", row)]


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


def test_a_room_imports_what_stands_above_it_on_the_page(root):
    rank = {name: place for place, name in enumerate(rooms(root))}
    package = root / "keras_convinit"
    there = {path.stem for path in package.glob("[!.]*") if path.stem[:2] != "__"}
    assert set(rank) == there - {"README", "DECISIONS", "py"}
    checked = 0
    for path in sources(root):
        here = path.relative_to(package).with_suffix("").parts[0]
        if here in ("__init__", "__main__"):
            continue
        for name in imported(path):
            other = room(name) if name.startswith("keras_convinit.") else None
            if other is None or other == here or other not in rank:
                continue
            assert rank[other] < rank[here], f"{path} imports {name}"
            checked += 1
    assert checked > 100


def test_a_private_module_has_two_importers_or_is_long(root):
    package = root / "keras_convinit"
    core = [path for path in sources(root) if "lab" not in path.parts]
    importers = collections.defaultdict(set)
    for path in sources(root):
        for name in imported(path):
            importers[name].add(path)
    private = [p for p in core if p.stem.startswith("_") and p.stem != "__init__"]
    private = [p for p in private if p.stem != "__main__"]
    assert len(private) > 20
    for path in private:
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        lines = len(path.read_text().splitlines())
        found = importers[name] - {path}
        assert len(found) > 1 or lines > 200, f"{name}: {lines} lines, {found}"


def test_docstrings_of_functions_begin_with_a_verb(root):
    seen = 0
    for path in sources(root):
        if "lab" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            # A property is a thing.
            names = {ast.unparse(d).split(".")[-1] for d in node.decorator_list}
            documentation = ast.get_docstring(node)
            if documentation is None or names & {
                "property",
                "cached_property",
                "setter",
            }:
                continue
            first = documentation.split()[0].strip(",;:")
            seen += 1
            assert re.fullmatch("[A-Z][a-z]+s|See", first), f"{path}:{node.lineno}"
            assert first not in ("Its", "This", "Whether"), f"{path}:{node.lineno}"
    assert seen > 300


def test_the_core_does_not_know_the_lab(root):
    importing = set()
    for path in sources(root):
        parts = path.relative_to(root / "keras_convinit").parts
        if parts[0] != "lab" and any("keras_convinit.lab" in n for n in imported(path)):
            importing.add("/".join(parts))
    assert importing == {"__main__.py"}


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
            keras_convinit.initialization
        except AttributeError as error:
            print(error)
        """
    )
    assert "module 'keras_convinit' has no attribute 'initialization'" in printed


def test_the_table_of_the_readme_is_the_registry(root):
    aliases = {
        alias
        for alias, cls in keras.saving.get_custom_objects().items()
        if ">" not in alias and cls.__module__.startswith("keras_convinit.")
    }
    rows = re.findall(r'^\| `"(\w+)"` \|', (root / "README.md").read_text(), re.M)
    assert sorted(rows) == sorted(aliases)


def test_every_class_is_registered_under_its_full_name():
    registry = keras.saving.get_custom_objects()
    in_files = keras.initializers.Initializer, keras.Layer, keras.optimizers.Optimizer
    classes = [
        cls
        for name, cls in PUBLIC
        if inspect.isclass(cls) and issubclass(cls, in_files)
    ]
    assert len(classes) > 10
    for cls in classes:
        if not inspect.isabstract(cls):
            assert registry[f"keras_convinit>{cls.__name__}"] is cls
    for name, cls in registry.items():
        if cls.__module__.startswith("keras_convinit.") and ">" in name:
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


def test_the_version_is_said_once(root):
    settings = configparser.ConfigParser()
    settings.read(root / "setup.cfg")
    assert settings["metadata"]["version"] == "attr: keras_convinit.__version__"
    citation = (root / "CITATION.cff").read_text()
    (cited,) = re.findall(r"^version: (.*)$", citation, re.MULTILINE)
    assert cited == keras_convinit.__version__
