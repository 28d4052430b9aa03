"""The house itself: what is shipped, how rooms may import, how light the door is."""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python(code, **options):
    """What a fresh interpreter prints."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, **options)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def packages_on_disk():
    found = {"ifog"}
    for name, folder in (("ifog", "ifog"), ("ifog.cluster", "cluster"), ("ifog.widgets", "widgets")):
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            if not (name == "ifog" and inner[:1] in (("cluster",), ("widgets",))):
                found.add(".".join([name, *inner]))
    return found


def test_every_folder_with_code_is_shipped():
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_room_on_disk_has_its_place_in_the_import_contract():
    (contract,) = SETTINGS["tool"]["importlinter"]["contracts"]
    layers = [layer.strip() for line in contract["layers"] for layer in line.split("|")]
    rooms = {name for name in packages_on_disk() if name.count(".") == 1} | {"ifog.arguments", "ifog.errors"}
    assert rooms == {layer for layer in layers if not layer.startswith("(")}


def test_imports_go_downwards():
    run = subprocess.run([Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert "1 kept, 0 broken" in run.stdout


def test_the_contract_sees_through_the_symlinks(tmp_path):
    for name in ("cluster", "widgets", "ifog", "pyproject.toml"):
        run = subprocess.run(["cp", "-r", ROOT / name, tmp_path / name])
        assert run.returncode == 0
    (tmp_path / "ifog" / "topology" / "wrong.py").write_text("import ifog.widgets\n")
    (tmp_path / "cluster" / "wrong.py").write_text("from ifog import widgets\n")
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    assert run.returncode != 0
    assert "ifog.topology is not allowed to import ifog.widgets" in run.stdout
    assert "ifog.cluster is not allowed to import ifog.widgets" in run.stdout


def test_the_folders_are_not_imported_by_their_bare_names():
    # in a checkout `import widgets` works by accident, in an installed ifog it does not
    code = "import widgets\nfrom cluster import x\n"
    run = subprocess.run(
        [Path(sys.executable).parent / "ruff", "check", "--select", "TID251", "--stdin-filename", "ifog/x.py", "-"],
        input=code, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout.count("TID251") == 2, run.stdout


def test_import_is_light():
    heavy = ("torch", "mpi4py", "plotly", "numpy", "scipy", "networkx", "pandas", "IPython", "jupyterlab")
    assert python(f"import ifog, sys; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_topology_brings_neither_torch_nor_mpi_nor_plotly_nor_pandas():
    heavy = ("torch", "mpi4py", "plotly", "pandas", "networkx")
    code = (
        f"from ifog import topology; import sys; topology.ring(8).rho; print([name for name in {heavy} if name in sys.modules])"
    )
    assert python(code) == "[]"


def test_problems_bring_neither_mpi_nor_scikit_learn_nor_topology():
    heavy = ("mpi4py", "sklearn", "plotly", "pandas", "networkx", "ifog.topology")
    code = f"from ifog import problems; import sys; print([name for name in {heavy} if name in sys.modules])"
    assert python(code) == "[]"


def test_import_loads_a_handful_of_modules_only():
    # what keeps it far below 0.2 s on any machine; a time would test how busy this one is
    assert int(python("import sys; before = len(sys.modules); import ifog; print(len(sys.modules) - before)")) < 30


def test_public_names_are_complete_and_importable():
    code = "import ifog; print(*ifog.__all__); [getattr(ifog, name) for name in ifog.__all__]"
    stub = (ROOT / "ifog" / "__init__.pyi").read_text()
    written = {line.split(" as ")[1] for line in stub.splitlines() if " as " in line}
    assert set(python(code).split()) == written


@pytest.mark.slow
def test_type_checkers_read_the_public_names(tmp_path):
    snippet = """
import ifog
reveal_type(ifog.topology.ring(8).rho)
reveal_type(ifog.Topology([[1.0]]))
ifog.topology.grid(9, row=3)
ifog.topology.no_such_graph
"""
    (tmp_path / "snippet.py").write_text(snippet)
    environment = os.environ | {"MYPYPATH": str(ROOT)}  # type checkers do not follow an editable install
    command = [sys.executable, "-m", "mypy", "snippet.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert 'Revealed type is "float"' in run.stdout
    assert 'Revealed type is "ifog.topology.graph.Topology"' in run.stdout
    assert 'Unexpected keyword argument "row" for "grid"' in run.stdout
    assert 'has no attribute "no_such_graph"' in run.stdout


def test_everything_public_in_topology_is_exported():
    from ifog import topology

    for function in topology.families().values():
        name = function.__name__
        assert getattr(topology, name, None) is function, f"export {name} in ifog/topology/__init__.py"
    for name, rule in topology.rules().items():
        assert getattr(topology, name) is rule


def test_constraints_pin_every_requirement():
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    project = SETTINGS["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {requirement.split(";")[0].split(">")[0].split("[")[0].strip() for requirement in wanted}
    assert names <= pinned
    assert all("==" not in requirement.split(";")[0] for requirement in wanted), "ranges here, pins in constraints.txt"


def fresh_environment(folder):
    """A Python with what ifog needs and without ifog: its own site-packages, and a path to this environment's."""
    import numpy

    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    needs = Path(numpy.__file__).parents[1]
    # appended behind, and as a plain path: this environment's own editable ifog must not be found through it
    (site / "needs.pth").write_text(f"{needs}\n")
    return folder / "bin" / "python", site


SMOKE = """
from importlib.resources import files
import ifog.cluster, ifog.widgets
print(ifog.topology.ring(8))
print(ifog.cluster.__file__)
static = (f"static/{name}.{kind}" for name in ("network", "convergence", "playground") for kind in ("js", "css"))
needed = ("__init__.pyi", "py.typed"), ("__init__.pyi", "theme.json", *static)
print(all(files(room).joinpath(name).is_file() for room, names in zip(("ifog", "ifog.widgets"), needed) for name in names))
"""


def install(python, *arguments):
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_the_wheel_made_from_the_sdist_works_without_the_checkout(tmp_path):
    run = subprocess.run([sys.executable, "-m", "build", "--outdir", tmp_path, ROOT], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    python, site = fresh_environment(tmp_path / "environment")
    install(python, wheel)
    run = subprocess.run([python, "-c", SMOKE], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    shown, cluster, shipped = run.stdout.splitlines()
    assert shown.startswith("ring(8): ρ = 0.8047")
    assert Path(cluster).is_relative_to(site)
    assert shipped == "True"


@pytest.mark.slow
def test_a_checkout_without_symlinks_works_as_well(tmp_path):
    # what git makes of them where the file system has none: files that hold the target's name
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("cluster", "widgets", "ifog", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", ROOT / name, checkout / name], check=True)
    for name in ("cluster", "widgets"):
        (checkout / "ifog" / name).unlink()
        (checkout / "ifog" / name).write_text(f"../{name}")
    python, _ = fresh_environment(tmp_path / "environment")
    install(python, "--editable", checkout)
    run = subprocess.run([python, "-c", SMOKE], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert str(checkout / "cluster") in run.stdout
