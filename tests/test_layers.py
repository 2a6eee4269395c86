"""Imports point one way: each module may import only what stands above it in this list."""

import ast
import gc
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "voxpop"
ORDER = """
cores errors regular times
posts text tracing logs schemas apart
inert
messages questions voices
signs
floods calling
tones
authorities
policy settling sealing kana
results sealed
sources store engines models vectors
matters
superseding bearing figures
stances
evidence drafts
calls
wording speakers
support
company positions
choosing expansion
ingest recheck retrieval prompt verification
structured
answering telling
recipes
history
closing writing
shaping
assistant
reopening
config
runner keeping
watches
watcher webhooks leaving
meters
health
service
reach
records
conversations compactions deferred files
documents
accounts
batches
tiers
windows tier_file
quotas
gate parting
desk dialects places attached choices
api rpc
render
live_table
engine_choice source_choice rpc_choice signing
app
ingesting doctor_accounts
demo doctor cli_options evaluation
weights
cli_usage cli_weights
cli_weights_convert cli_weights_make cli_weights_plan cli_weights_tokenizer
cli_weights_bench cli_weights_quantize
cli_models cli_policy cli_sources cli_keeping cli_x cli_watch cli_eval cli_answers cli_users
cli_keys cli_teams cli_tiers
cli
docs
trust
""".strip().splitlines()
RANK = {name: rank for rank, line in enumerate(ORDER) for name in line.split()}
# The simulator knows nothing of voxpop but its own files; only what builds the program may start it.
MAY_SIMULATE = {"app", "cli_weights_make", "demo", "evaluation", "simulator", "source_choice"}


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax tree. Python 3.11 fails at random where garbage is collected while it makes one."""
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"))
    finally:
        gc.enable()


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name under voxpop."""
    paths = (p for p in SOURCE.rglob("*.py") if p.name != "__init__.py" or p.parent != SOURCE)
    return {".".join(p.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


@cache
def imports(path: Path) -> set[str]:
    """The voxpop modules that a file imports anywhere, also within its functions."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("voxpop.") for a in node.names if a.name.startswith("voxpop.")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "voxpop":
            inner = node.module.removeprefix("voxpop").lstrip(".")
            for alias in node.names:
                full = f"{inner}.{alias.name}".lstrip(".")
                found.add(full if full in modules() else inner)
    return found - {"", "__version__"}


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", [m for m in modules() if top(m) != "simulator"])
def test_imports_point_up(module: str) -> None:
    for imported in imports(modules()[module]):
        if top(imported) == "simulator":
            assert top(module) in MAY_SIMULATE, f"{module} starts the simulator"
        elif top(imported) != top(module):
            assert top(module) in RANK, f"{module} has no place in the order: give it one"
            assert RANK[top(imported)] < RANK[top(module)], f"{module} imports {imported}, which stands below it"


@pytest.mark.parametrize("module", [m for m in modules() if top(m) == "simulator"])
def test_the_simulator_stands_alone(module: str) -> None:
    assert {top(i) for i in imports(modules()[module])} <= {"simulator"}


def test_no_cycle_within_a_package() -> None:
    graph = {
        m: {i for i in imports(p) if i in modules() and top(i) == top(m) and i != m} for m, p in modules().items()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"import cycle: {' -> '.join([*path, module])}"
        if module not in done:
            for imported in graph[module]:
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_a_boundary_is_a_protocol_of_at_most_four_methods() -> None:
    for package in ("sources", "store", "engines"):
        tree = parsed(SOURCE / package / "__init__.py")
        protocols = [
            c
            for c in tree.body
            if isinstance(c, ast.ClassDef) and any(getattr(b, "id", "") == "Protocol" for b in c.bases)
        ]
        assert protocols, f"{package} has no Protocol"
        for protocol in protocols:
            methods = [n for n in protocol.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert len(methods) <= 4, f"{package}.{protocol.name} has {len(methods)} methods"


@pytest.mark.parametrize(
    "module",
    [
        "signs",
        "policy",
        "results",
        "settling",
        "kana",
        "calls",
        "floods",
        "choosing",
        "expansion",
        "matters",
        "superseding",
        "bearing",
        "evidence",
        "figures",
        "wording",
        "company",
        "stances",
        "positions",
        "prompt",
        "verification",
        "questions",
        "store.ranking",
        "tiers",
        "weights.planning.placing",
        "weights.planning.advising",
        "weights.planning.sizes",
    ],
)
def test_a_step_has_no_clock_no_chance_and_no_network(module: str) -> None:
    tree = parsed(SOURCE / (module.replace(".", "/") + ".py"))
    names = {n.names[0].name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import)}
    names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not names & {"time", "random", "secrets", "os", "socket", "httpx", "asyncio", "datetime"}


@pytest.mark.parametrize("module", modules())
def test_a_module_opens_with_one_sentence(module: str) -> None:
    text = ast.get_docstring(parsed(modules()[module])) or ""
    assert text, f"{module} does not say what it does"
    assert text.splitlines()[0].endswith((".", ":")) or "\n" in text, module


def test_modules_and_functions_stay_small() -> None:
    for module, path in modules().items():
        text = path.read_text("utf-8")
        if "night_" not in module and module != "simulator.crowd":
            assert len(text.splitlines()) <= 400, f"{module} has {len(text.splitlines())} lines"
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 45, f"{module}.{node.name} has {length} lines"
