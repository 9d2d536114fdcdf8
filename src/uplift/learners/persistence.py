"""Models as text: boosters in LightGBM's format, everything else as JSON, every file with its digest. Never pickle."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from uplift.errors import InputError, did_you_mean

FORMAT = "uplift-model"
VERSION = 1
MODEL_FILE = "model.json"
_FILE_NAME = re.compile(r"[a-z0-9-]+\.txt")


class Persistable(Protocol):
    """What :func:`save` and :func:`load` ask of a model."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments."""

    def _state(self, files: dict[str, str]) -> dict[str, Any]:
        """What was learned, as plain values; long texts go into ``files``."""

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, str]) -> None:
        """The inverse."""


def classes() -> dict[str, type]:
    """The classes that may be saved, by name. Files name one of these; nothing else is ever imported for a file."""
    from uplift.learners import BGNBD, LEARNERS, ChurnModel, RecencyRule

    return {cls.__name__: cls for cls in (*LEARNERS.values(), ChurnModel, RecencyRule, BGNBD)}


def save(model: Any, folder: str | Path) -> Path:
    """Write a fitted model into a folder of its own; return the folder.

    The folder is written beside its place and moved there whole. An existing model there is replaced; a folder that
    holds anything else is refused.

    Raises
    ------
    InputError
        If the model is not one of ours, is not fitted, or the folder holds other things.
    """
    from sklearn.utils.validation import check_is_fitted

    from uplift import __version__

    kind: type = type(model)
    name = kind.__name__
    if classes().get(name) is not kind:
        raise InputError(f"{name} cannot be saved: only {', '.join(sorted(classes()))} can")
    check_is_fitted(model)
    target = Path(folder)
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / MODEL_FILE).is_file())):
        raise InputError(f"{target} exists and is not a saved model: name a folder that is new or empty")
    files: dict[str, str] = {}
    body = {
        "format": FORMAT,
        "version": VERSION,
        "library": __version__,
        "class": name,
        "params": _plain_params(model),
        "state": model._state(files),
    }
    body["files"] = {file: _digest(text.encode("utf-8")) for file, text in files.items()}
    try:
        body["digest"] = _body_digest(body)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be saved ({error}): names of arms must be texts, numbers or flags") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for file, text in files.items():
            (draft / file).write_bytes(text.encode("utf-8"))
        (draft / MODEL_FILE).write_bytes(_dumps(body, indent=1).encode("utf-8"))
        draft.chmod(0o755)
        if target.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.replace(retired / "old")
            draft.replace(target)
            shutil.rmtree(retired)
        else:
            draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def load(folder: str | Path) -> Any:
    """Read a model that :func:`save` wrote; its predictions are the same to the last bit.

    Raises
    ------
    InputError
        If a file is missing, altered or foreign, or the format's version or the class is unknown.
    """
    source = Path(folder)
    body = _read_body(source)
    files = _read_files(source, body["files"])
    known = classes()
    name = body["class"]
    if name not in known:
        raise InputError(f"{source} holds a model of class {name!r}: {did_you_mean(str(name), known)}")
    try:
        model = known[name](**body["params"])
        model._restore(body["state"], files)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{source / MODEL_FILE} lacks what a {name} needs ({error}): save the model anew") from error
    return model


def read_features(model: Any) -> tuple[str, ...]:
    """Names of the features that a fitted model needs, in its order; ``x0``, ``x1``, … if it was given none."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    return tuple(model.encoder_.names) if hasattr(model, "encoder_") else tuple(model.features_)


def _plain_params(model: Persistable) -> dict[str, Any]:
    from uplift.learners._inputs import plain

    params = {key: plain(value) for key, value in model.get_params(deep=False).items()}
    for key, value in params.items():
        try:
            _dumps(value)
        except (TypeError, ValueError):
            if key != "random_state":
                raise InputError(f"{key}={value!r} cannot be written as JSON: use numbers, texts or None") from None
            params[key] = None  # a generator seeded the fit; it is not needed to predict
    return params


def _read_body(source: Path) -> dict[str, Any]:
    path = source / MODEL_FILE
    if not path.is_file():
        raise InputError(f"{source} holds no model: there is no {MODEL_FILE} in it")
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise InputError(f"{path} is not a model of this library")
    if body.get("version") != VERSION:
        raise InputError(
            f"{path} has format version {body.get('version')!r}, this library reads {VERSION}: use the library that "
            f"wrote it ({body.get('library')}) or train anew"
        )
    if body.get("digest") != _body_digest(body):
        raise InputError(f"{path} was altered after it was written: its digest does not match")
    return body


def _read_files(source: Path, digests: Mapping[str, str]) -> dict[str, str]:
    problems = [f"{name}: no name of a model file" for name in digests if not _FILE_NAME.fullmatch(name)]
    present = {entry.name for entry in source.iterdir()} - {MODEL_FILE}
    problems += [f"{name}: foreign, the model does not name it" for name in sorted(present - set(digests))]
    texts: dict[str, str] = {}
    for name, digest in digests.items():
        path = source / name
        if not _FILE_NAME.fullmatch(name):
            continue
        if path.is_symlink() or not path.is_file():
            problems.append(f"{name}: missing")
            continue
        data = path.read_bytes()
        if _digest(data) != digest:
            problems.append(f"{name}: altered, its sha256 does not match")
            continue
        texts[name] = data.decode("utf-8")
    if problems:
        raise InputError(f"{source} is not as it was saved:\n" + "\n".join(f"  {problem}" for problem in problems))
    return texts


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _body_digest(body: Mapping[str, Any]) -> str:
    return _digest(_dumps({k: v for k, v in body.items() if k != "digest"}).encode("utf-8"))


def _dumps(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=indent)
