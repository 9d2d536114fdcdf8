"""Every notebook runs without an error, matches its paired text, and holds nothing of the machine it ran on.

``UPLIFT_WRITE_NOTEBOOKS=1 make notebooks`` writes the executed notebooks, made anew from their paired text.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    # Jupyter's packages warn of their own future (moved modules, default paths) when imported: not ours to mend.
    warnings.simplefilter("ignore", DeprecationWarning)
    import jupytext
    import nbformat
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PAIRS = sorted(FOLDER.glob("*.ipynb"))
WRITE = os.environ.get("UPLIFT_WRITE_NOTEBOOKS") == "1"
LARGEST = 400_000
SECONDS = 600
# /home/…, /tmp/…, C:\…; not the slash within a word, a URL or a tag
ABSOLUTE = re.compile(r"(?<![\w.:<&/])/(?:home|root|tmp|usr|var|work|opt|mnt|private|Users)/[\w.-]|\b[A-Z]:\\\\?\w")
TROUBLE = re.compile(r"Traceback \(most recent call last\)|\w+Warning:")
MEMBER = re.compile(r"\bM\d{7}\b")

pytestmark = [
    # pyzmq and jupyter_client announce event-loop and shutdown matters of their own in this process; the notebook runs
    # in another one, where its warnings show up in the outputs that are searched below.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter_client|jupyter_core|nbclient|nbformat|zmq).*"),
]

committed = pytest.mark.skipif(
    WRITE, reason="the notebooks are being written: run again without UPLIFT_WRITE_NOTEBOOKS"
)


def this_interpreter(name: str = "python3") -> AsyncKernelManager:
    """A kernel of the Python that runs the tests, whatever kernels are installed under that name."""
    manager = AsyncKernelManager(kernel_name=name)
    manager._kernel_spec = KernelSpec(  # the public way reads a file, and another environment's may come first
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name=name,
        language="python",
    )
    return manager


def execute(notebook: Any, cwd: Path) -> Any:
    """Run cells in ``cwd`` up to the first error, which is an output too; the notebook with its outputs."""
    client = NotebookClient(
        notebook,
        km=this_interpreter(),
        timeout=SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(cwd)}},
    )
    with contextlib.suppress(CellExecutionError):  # the notebook holds it as an output
        client.execute(cleanup_kc=True)  # ends the kernel, which it would leave to us since we made it
    return notebook


def outputs(notebook: Any) -> Iterator[tuple[int, str, str]]:
    """(cell, kind, text) of every output that can be read; pictures are left out."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                yield number, output.name, output.text
            elif output.output_type == "error":
                yield number, "error", "\n".join(output.traceback)
            else:
                for mime, value in output.data.items():
                    if not mime.startswith("image/"):
                        yield number, mime, value if isinstance(value, str) else json.dumps(value)


def complaints(notebook: Any) -> list[str]:
    """What may not be in a notebook that people read."""
    found = []
    members: set[str] = set()
    for number, kind, text in outputs(notebook):
        if kind in ("error", "stderr"):
            found.append(f"cell {number}: {kind}: {text[:200]}")
        for pattern in (ABSOLUTE, TROUBLE):
            for match in pattern.findall(text):
                found.append(f"cell {number}: {match!r}")
        members |= set(MEMBER.findall(text))
    if len(members) > 10:
        found.append(f"{len(members)} member ids")
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.metadata.get("execution"):
            found.append(f"cell {number}: time stamps")
    return found


def made(source: str) -> Any:
    return jupytext.reads(f"# %%\n{source}\n", fmt="py:percent")


def test_there_are_notebooks() -> None:
    assert PAIRS
    assert {path.stem for path in PAIRS} == {path.stem for path in FOLDER.glob("*.py")}


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_runs_without_an_error(path: Path, tmp_path: Path) -> None:
    source = jupytext.read(path.with_suffix(".py"))
    done = execute(source, tmp_path)
    assert complaints(done) == []
    assert list(tmp_path.iterdir()) == []  # a notebook leaves nothing behind
    if WRITE:
        for number, cell in enumerate(done.cells):
            cell["id"] = f"cell-{number:02d}"  # the same ids each time
        path.write_text(nbformat.writes(done) + "\n", encoding="utf-8")


@committed
@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_text_and_notebook_are_the_same(path: Path) -> None:
    notebook, text = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    for one in (notebook, text):
        assert one.metadata["jupytext"]["formats"] == "ipynb,py:percent"
        assert one.metadata["kernelspec"]["name"] == "python3"
    cells = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (notebook, text)]
    assert cells[0] == cells[1], f"run `jupytext --sync notebooks/{path.name}`"


@committed
@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_committed_outputs_are_whole_and_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert complaints(notebook) == []
    assert path.stat().st_size < LARGEST
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "executed from top to bottom"


@pytest.mark.parametrize(
    "source",
    [
        "1 / 0",
        "print('/tmp/somewhere/file.parquet')",
        "import pathlib; pathlib.Path.cwd()",
        "import warnings; warnings.warn('look out')",
        "[f'M{i:07d}' for i in range(11)]",
    ],
)
def test_a_bad_notebook_is_caught(source: str, tmp_path: Path) -> None:
    assert complaints(execute(made(source), tmp_path))


def test_a_good_notebook_is_let_through(tmp_path: Path) -> None:
    notebook = execute(made("print('docs/ and a/b, </td></tr>, M0000001'); __import__('sys').prefix != ''"), tmp_path)
    assert complaints(notebook) == []


def test_the_kernel_is_this_interpreter(tmp_path: Path) -> None:
    notebook = execute(made(f"import sys; print(sys.executable == {sys.executable!r})"), tmp_path)
    assert [text for _, _, text in outputs(notebook)] == ["True\n"]
    assert KernelSpecManager().get_kernel_spec("python3").language == "python"  # what a person's Jupyter starts
