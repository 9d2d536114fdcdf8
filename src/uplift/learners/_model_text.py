"""LightGBM's text format taken apart into trees, and put together from them."""

from __future__ import annotations

from collections.abc import Sequence


def split_text(text: str) -> tuple[str, list[str]]:
    """The head of LightGBM's text format, and its trees without their numbers."""
    head, *blocks = text.split("\nend of trees")[0].split("\nTree=")
    return head, [block.split("\n", 1)[1].strip("\n") for block in blocks]


def join_text(head: str, trees: Sequence[str]) -> str:
    """The trees as one model."""
    blocks = [f"Tree={number}\n{tree}\n\n\n" for number, tree in enumerate(trees)]
    lines = [line for line in head.strip("\n").splitlines() if not line.startswith("tree_sizes=")]
    sizes = " ".join(str(len(block)) for block in blocks)
    return "\n".join([*lines, f"tree_sizes={sizes}"]) + f"\n\n{''.join(blocks)}end of trees\n\nfeature_importances:\n"


def split_columns(tree: str) -> set[int]:
    """Columns that a tree splits on."""
    named = next((line for line in tree.splitlines() if line.startswith("split_feature=")), "split_feature=")
    return {int(column) for column in named.split("=", 1)[1].split()}
