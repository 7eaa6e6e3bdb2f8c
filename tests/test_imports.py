"""The import rules, and the few rules about the code's shape that neither ruff nor mypy knows.

A rule is a function that reads one module's syntax tree and yields what is wrong with it, as `line: sentence`. Each
runs over everything under auditor/, and over snippets that break it, so that a rule which sees nothing is found out.
A new room is given a place in `LAYERS`; a package that only one room may use is given a home in `HOMES`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "auditor").rglob("*.py"))
EVERYTHING = sorted(path for top in ROOT.glob("[a-z]*/") for path in top.rglob("*.py"))

LAYERS = (
    {"__main__"},
    {"cli"},
    {"evidence"},
    {"pipeline", "doctor", "simulation", "inquiry", "remedy"},
    {"judging"},
    {"gather", "history", "formats", "demo", "remediation", "notify"},
    {"answers"},
    {"aws", "policy", "credential_report", "inventory", "config"},
    {"tables", "report_columns"},
    {"model", "errors", "secret"},
)
"""The rooms from the top down: a room imports rooms below its own layer, itself, and the version in `auditor`."""

NARROWER = {"__main__": {"cli"}, "config": {"model", "errors"}}
"""Rooms that may import only these of the rooms below them."""

HOMES = {
    "boto3": ("auditor.aws", "auditor.demo"),
    "botocore": ("auditor.aws", "auditor.demo"),
    "mypy_boto3_iam": ("auditor.aws", "auditor.demo"),
    "mypy_boto3_organizations": ("auditor.aws", "auditor.demo"),
    "mypy_boto3_sts": ("auditor.aws", "auditor.demo"),
    "moto": ("auditor.demo",),
    "flask": ("auditor.demo",),
    "flask_cors": ("auditor.demo",),
    "werkzeug": ("auditor.demo",),
    "typer": ("auditor.cli",),
    "click": ("auditor.cli",),
    "rich": ("auditor.cli",),
    "weasyprint": ("auditor.formats.pdf",),
    "pydantic": ("auditor.config", "auditor.remediation"),
    "pydantic_core": ("auditor.config",),
    "configupdater": ("auditor.aws.credentials_file",),
    "slack_sdk": ("auditor.notify",),
    "sshsig": ("auditor.remediation.approval",),
    "duckdb": ("auditor.history",),
}
"""Packages that only these modules, and the modules inside them, may import."""

PACKAGES = {
    "auditor": set[str](),
    "__main__": set[str](),
    "cli": {"typer", "click", "rich"},
    "config": {"pydantic", "pydantic_core", "tomli_w"},
    "tables": {"pandas"},
    "report_columns": {"numpy"},
    "model": set[str](),
    "errors": set[str](),
}
"""Rooms that may import only these packages beside the standard library."""

PURE = (
    "auditor.policy",
    "auditor.credential_report",
    "auditor.inventory",
    "auditor.model",
    "auditor.tables",
    "auditor.report_columns",
    "auditor.formats.asff",
    "auditor.formats.json_text",
    "auditor.formats.listed",
    "auditor.formats.ocsf",
    "auditor.formats.oscal",
    "auditor.formats.plain_text",
    "auditor.formats.view",
    "auditor.remediation.caps",
    "auditor.remediation.decision",
    "auditor.remediation.lifecycle",
    "auditor.remediation.news",
    "auditor.remediation.plan",
    "auditor.remediation.plan_facts",
    "auditor.remediation.progress",
    "auditor.remediation.protection",
)
"""Modules without file, clock, environment or network: same arguments, same answer."""

IMPURE_MODULES = (
    *("os", "pathlib", "glob", "shutil", "tempfile", "fileinput", "io.open", "io.open_code", "io.FileIO", "sqlite3"),
    *("time", "sched", "random", "secrets", "getpass", "platform", "subprocess", "multiprocessing"),
    *("socket", "ssl", "select", "selectors", "asyncio", "http", "urllib.request", "ftplib", "smtplib"),
    *("requests", "urllib3", "httpx"),
)
IMPURE_NAMES = {"open", "input"}
IMPURE_ATTRIBUTES = {
    *("now", "utcnow", "today", "environ", "getenv", "urlopen"),
    *("open", "read_text", "read_bytes", "write_text", "write_bytes"),
}

HEAVY = {"pandas", "numpy", "boto3", "botocore", "weasyprint", "moto", "duckdb", "pydantic", "jinja2"}
"""What a start of the program must not wait for."""

LONGEST_FUNCTION = 60


# ------------------------------------------------------------------------------------------------- reading a module


def module_name(path: Path) -> str:
    """The dotted name of a module by its path; a package's name for its `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_bytes(), filename=str(path))


def room_of(module: str) -> str:
    """The room a dotted name lies in, `auditor` for the package itself and its version."""
    room = module.partition(".")[2].partition(".")[0]
    return "auditor" if room in {"", "__version__"} else room


def lies_in(module: str, *places: str) -> bool:
    """Whether a dotted name is one of these places or inside one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def imports(tree: ast.Module, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything a module imports, wherever the import statement stands."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


# ------------------------------------------------------------------------------------------------- the rules


def arrow_faults(tree: ast.Module, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Imports that go up or sideways between the rooms, and rooms without a place."""
    below = {room: set[str]().union(*LAYERS[i + 1 :]) for i, layer in enumerate(LAYERS) for room in layer}
    here = room_of(module)
    if here not in {"auditor", *below}:
        yield f"1: the room {here} has no place: put it into LAYERS of {Path(__file__).name}"
        return
    allowed = NARROWER.get(here, below.get(here, set())) | {here, "auditor"}
    for line, target in imports(tree, module, is_package=is_package):
        there = room_of(target)
        if not lies_in(target, "auditor") or there in allowed:
            continue
        if there in below:
            yield f"{line}: {here} may not import {there}"
        else:
            yield f"{line}: the room {there} has no place: put it into LAYERS of {Path(__file__).name}"


def package_faults(tree: ast.Module, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Packages imported away from home, or into a room that does without."""
    here = room_of(module)
    for line, target in imports(tree, module, is_package=is_package):
        package = target.split(".")[0]
        if package in HOMES and not lies_in(module, *HOMES[package]):
            yield f"{line}: {package} belongs to {' and '.join(HOMES[package])}"
        elif package not in sys.stdlib_module_names | {"auditor"} | PACKAGES.get(here, {package}):
            yield f"{line}: {here} may not import {package}"


def hiding_faults(tree: ast.Module, module: str, *, is_package: bool = False) -> Iterator[str]:  # noqa: ARG001
    """Imports by a function call, which the other rules cannot follow."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                if name in {"__import__", "import_module"}:
                    yield f"{node.lineno}: {name} hides what is imported; write an import statement"
            case _:
                pass


def purity_faults(tree: ast.Module, module: str, *, is_package: bool = False) -> Iterator[str]:
    """What a pure module uses of files, the clock, the environment or the network."""
    if not lies_in(module, *PURE):
        return
    for line, target in imports(tree, module, is_package=is_package):
        if lies_in(target, *IMPURE_MODULES):
            yield f"{line}: {target} reaches out of a pure module"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in IMPURE_NAMES:
            yield f"{node.lineno}: {node.id} reaches out of a pure module"
        elif isinstance(node, ast.Attribute) and node.attr in IMPURE_ATTRIBUTES:
            yield f"{node.lineno}: .{node.attr} reaches out of a pure module"


def mock_faults(tree: ast.Module, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Imports of mock libraries: the tests use the real parts."""
    for line, target in imports(tree, module, is_package=is_package):
        if lies_in(target, "unittest.mock", "mock", "pytest_mock"):
            yield f"{line}: {target} is used nowhere; test the real part"


def docstring_faults(tree: ast.Module) -> Iterator[str]:
    """Modules and public classes, functions and methods without a docstring."""
    for node in (tree, *public_definitions(tree)):
        if not ast.get_docstring(node):
            name, line = ("the module", 1) if isinstance(node, ast.Module) else (node.name, node.lineno)
            yield f"{line}: {name} has no docstring"


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_definitions(parent: ast.AST) -> Iterator[Definition]:
    """Classes, functions and methods that others may use; an overload or a setter speaks through its first."""
    for node in ast.iter_child_nodes(parent):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from public_definitions(node)
        elif not node.name.startswith("_"):
            decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
            if not decorators & {"overload", "override", "setter"}:
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


def length_faults(tree: ast.Module) -> Iterator[str]:
    """Functions longer than a screen."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{node.lineno}: {node.name} has {lines} lines; {LONGEST_FUNCTION} are the most"


# ------------------------------------------------------------------------------------------------- over everything

IMPORT_RULES = (arrow_faults, package_faults, hiding_faults, purity_faults, mock_faults)


def relative(path: Path) -> str:
    """A path as it is shown, from the top of the repository."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_go_one_way(path: Path) -> None:
    """Each module imports only what its room may."""
    tree, is_package = parse(path), path.name == "__init__.py"
    faults = [fault for rule in IMPORT_RULES for fault in rule(tree, module_name(path), is_package=is_package)]
    assert not faults, "\n".join(f"{relative(path)}:{fault}" for fault in faults)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_public_names_are_explained_and_functions_fit_on_a_screen(path: Path) -> None:
    """Each module and public name has a docstring, and no function is longer than 60 lines."""
    tree = parse(path)
    faults = [*docstring_faults(tree), *length_faults(tree)]
    assert not faults, "\n".join(f"{relative(path)}:{fault}" for fault in faults)


def test_nothing_is_mocked() -> None:
    """No module of the repository, and no test, imports a mock library."""
    found = [
        f"{relative(path)}:{fault}" for path in EVERYTHING for fault in mock_faults(parse(path), module_name(path))
    ]
    assert Path(__file__).resolve() in EVERYTHING
    assert not found, "\n".join(found)


# ------------------------------------------------------------------------------------------------- the rules bite

BROKEN = [
    ("auditor.tables", "from auditor.policy import evaluate", "1: tables may not import policy"),
    ("auditor.aws.keys", "import auditor.pipeline", "1: aws may not import pipeline"),
    ("auditor.aws.keys", "from auditor import cli", "1: aws may not import cli"),
    ("auditor.aws.keys", "from auditor.policy.limits import is_broken", "1: aws may not import policy"),
    ("auditor.aws.keys", "from .. import pipeline", "1: aws may not import pipeline"),
    ("auditor.aws.keys", "from ..policy import evaluate as judge", "1: aws may not import policy"),
    ("auditor.gather", "def f():\n    from auditor.demo import server", "2: gather may not import demo"),
    ("auditor.history.load", "from auditor.formats import view", "1: history may not import formats"),
    ("auditor.model", "if TYPE_CHECKING:\n    from auditor.tables import KEYS", "2: model may not import tables"),
    ("auditor.model", "from auditor.errors import AuditorError", "1: model may not import errors"),
    ("auditor.errors", "import auditor.model", "1: errors may not import model"),
    ("auditor.config", "from auditor.tables import KEYS", "1: config may not import tables"),
    ("auditor", "from auditor import model", "1: auditor may not import model"),
    ("auditor.__main__", "from auditor import pipeline", "1: __main__ may not import pipeline"),
    ("auditor.unheard_of.part", "", "1: the room unheard_of has no place"),
    ("auditor.cli", "from auditor import unheard_of", "1: the room unheard_of has no place"),
    ("auditor.gather", "import boto3", "1: boto3 belongs to auditor.aws and auditor.demo"),
    ("auditor.gather", "from botocore.exceptions import ClientError", "1: botocore belongs to"),
    ("auditor.gather", "from mypy_boto3_iam import IAMClient", "1: mypy_boto3_iam belongs to"),
    ("auditor.aws.clients", "import moto.server", "1: moto belongs to auditor.demo"),
    ("auditor.aws.clients", "from werkzeug.serving import make_server", "1: werkzeug belongs to auditor.demo"),
    ("auditor.pipeline", "import flask", "1: flask belongs to auditor.demo"),
    ("auditor.pipeline", "from rich.progress import Progress", "1: rich belongs to auditor.cli"),
    ("auditor.pipeline", "import typer", "1: typer belongs to auditor.cli"),
    ("auditor.formats.html", "import weasyprint", "1: weasyprint belongs to auditor.formats.pdf"),
    ("auditor.formats.pdf_pages", "import weasyprint", "1: weasyprint belongs to auditor.formats.pdf"),
    ("auditor.gather", "from pydantic import BaseModel", "1: pydantic belongs to auditor.config"),
    ("auditor.formats.csv", "import duckdb", "1: duckdb belongs to auditor.history"),
    ("auditor.cli.audit", "import pandas as pd", "1: cli may not import pandas"),
    ("auditor.model", "import numpy", "1: model may not import numpy"),
    ("auditor.errors", "import requests", "1: errors may not import requests"),
    ("auditor.tables", "import numpy as np", "1: tables may not import numpy"),
    ("auditor.config", "import pandas", "1: config may not import pandas"),
    ("auditor.gather", "import importlib\nimportlib.import_module('boto3')", "2: import_module hides"),
    ("auditor.gather", "from importlib import import_module as load", "1: import_module hides"),
    ("auditor.gather", "__import__('boto3')", "1: __import__ hides"),
    ("auditor.policy.evaluate", "import os.path", "1: os.path reaches out"),
    ("auditor.policy.evaluate", "from os import environ", "1: os.environ reaches out"),
    ("auditor.tables", "from pathlib import Path", "1: pathlib.Path reaches out"),
    ("auditor.tables", "from io import open", "1: io.open reaches out"),
    ("auditor.model", "import time", "1: time reaches out"),
    ("auditor.inventory", "from urllib import request", "1: urllib.request reaches out"),
    ("auditor.inventory", "import socket", "1: socket reaches out"),
    ("auditor.inventory", "import requests", "1: requests reaches out"),
    ("auditor.formats.view", "def f():\n    import subprocess", "2: subprocess reaches out"),
    ("auditor.formats.view", "import random, shutil", "1: shutil reaches out"),
    ("auditor.formats.view", "import tempfile", "1: tempfile reaches out"),
    ("auditor.credential_report", "rows = open(name).read()", "1: open reaches out"),
    ("auditor.credential_report", "import io\nio.open(name)", "2: .open reaches out"),
    ("auditor.credential_report", "text = source.read_text()", "1: .read_text reaches out"),
    ("auditor.policy", "as_of = datetime.now(UTC)", "1: .now reaches out"),
    ("auditor.policy", "as_of = datetime.datetime.utcnow()", "1: .utcnow reaches out"),
    ("auditor.policy", "field(default_factory=datetime.now)", "1: .now reaches out"),
    ("auditor.policy", "pd.Timestamp.today()", "1: .today reaches out"),
    ("auditor.aws", "from unittest import mock", "1: unittest.mock is used nowhere"),
    ("auditor.aws", "from unittest.mock import patch", "1: unittest.mock.patch is used nowhere"),
    ("auditor.aws", "import mock", "1: mock is used nowhere"),
]


@pytest.mark.parametrize(("module", "source", "expected"), BROKEN)
def test_a_broken_import_rule_is_found(module: str, source: str, expected: str) -> None:
    """A snippet that breaks one rule is reported with its line and what is wrong."""
    faults = [fault for rule in IMPORT_RULES for fault in rule(ast.parse(source), module)]
    assert [fault for fault in faults if fault.startswith(expected)], faults


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("auditor.__main__", "from auditor.cli import main"),
        ("auditor.cli.audit", "import typer, rich.table\ndef f():\n    from auditor import pipeline, __version__"),
        ("auditor.pipeline", "from auditor import demo, formats, gather, history, model\nimport os, time"),
        ("auditor.gather.account", "from auditor import aws, config, credential_report, inventory, policy"),
        ("auditor.aws.keys", "import boto3\nfrom botocore.stub import Stubber\nfrom .calls import Caller"),
        ("auditor.demo.server", "import moto.server, flask, flask_cors, boto3\nfrom werkzeug import serving"),
        ("auditor.config", "import pydantic, tomllib, pathlib\nfrom auditor.errors import UsageError"),
        ("auditor.tables", "import pandas as pd\nfrom auditor.model import Outcome"),
        ("auditor.formats.pdf", "import weasyprint"),
        ("auditor.policy.evaluate", "from datetime import time\nimport io, urllib.parse\nio.StringIO()"),
        ("auditor.history.write", "import duckdb, pandas, os\nfrom auditor.tables import KEYS"),
    ],
)
def test_an_import_that_is_allowed_is_not_reported(module: str, source: str) -> None:
    """The rules let pass what the rooms are there for."""
    assert [fault for rule in IMPORT_RULES for fault in rule(ast.parse(source), module)] == []


def test_a_package_resolves_relative_imports_from_itself() -> None:
    """In `__init__.py` one dot is the package, in a module it is the package around it."""
    tree = ast.parse("from . import keys\nfrom .. import model")
    inside, package = imports(tree, "auditor.aws.calls"), imports(tree, "auditor.aws", is_package=True)
    assert list(inside) == list(package) == [(1, "auditor.aws.keys"), (2, "auditor.model")]


def test_a_missing_docstring_is_found() -> None:
    """Modules, public classes, functions and methods need one; private names, overloads and setters do not."""
    source = """
class Run:
    def load(self): ...
    def _parse(self): ...
    @path.setter
    def path(self, value): ...
    @overload
    def find(self): ...
if TYPE_CHECKING:
    async def gather():
        def within(): ...
class _Hidden:
    def shown(self): ...
"""
    assert list(docstring_faults(ast.parse(source))) == [
        "1: the module has no docstring",
        "2: Run has no docstring",
        "3: load has no docstring",
        "10: gather has no docstring",
    ]
    assert list(docstring_faults(ast.parse('"""M."""\ndef f():\n    """F."""'))) == []


def test_a_long_function_is_found() -> None:
    """60 lines pass, one more does not, inside a class and a function too."""
    fits = "def f():\n" + "    x = 1\n" * (LONGEST_FUNCTION - 1)
    method = "class C:\n    async def m(self):\n" + "        x = 1\n" * LONGEST_FUNCTION
    assert list(length_faults(ast.parse(fits))) == []
    assert list(length_faults(ast.parse(f"{fits}    x = 1\n"))) == ["1: f has 61 lines; 60 are the most"]
    assert list(length_faults(ast.parse(method))) == ["2: m has 61 lines; 60 are the most"]


# ------------------------------------------------------------------------------------------------- a quick start


def packages_loaded_by(*arguments: str) -> set[str]:
    """The top-level packages that a Python process with these arguments imports until it ends well."""
    command = [sys.executable, "-X", "importtime", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 0, "\n".join(line for line in lines if not line.startswith("import time:"))
    return {line.split("|")[-1].strip().split(".")[0] for line in lines if line.startswith("import time:")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import auditor, auditor.errors, auditor.model"),
        ("-c", "from auditor.cli import main"),
        ("-m", "auditor", "--version"),
        ("-m", "auditor", "--help"),
    ],
    ids=" ".join,
)
def test_a_start_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """The version and the help come at once: no tables, SDK, renderer or database is loaded for them."""
    loaded = packages_loaded_by(*arguments)
    assert "auditor" in loaded
    assert not loaded & HEAVY


def test_a_heavy_package_would_be_seen() -> None:
    """What a process loads shows in the list, a package inside a function too."""
    assert packages_loaded_by("-c", "def f():\n    import jinja2\nf()") & HEAVY == {"jinja2"}
