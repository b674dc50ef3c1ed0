"""Damage to files, drawn from a generator: what a disk, a broken copy or somebody with bad intentions does to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save

from wm_gym.files import file_hash

Mutation = Callable[[Path, np.random.Generator], None]

_CLASS = "_" + "target_"  # by which Hydra names what it calls; spelt so that a search for it finds no use
_HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 2**31, 2**70, 1e308, -0.5, "", "../../escape", "/dev/zero", "x" * 10_000, "os:system"),
    *("nan", [], {}, [[]], {_CLASS: "os.system"}, [None] * 100, float("nan"), float("inf"), "\0", "gym:Hopper-v5"),
)
_ROOTS = ("MANIFEST.json", "meta/MANIFEST.json", "policy.json", "policy/policy.json")
"""Files that hold the hashes of others."""


def mutate(folder: Path, generator: np.random.Generator) -> list[str]:
    """Damage one to three places of a folder; tells what was done."""
    done = []
    for _ in range(int(generator.integers(1, 4))):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        if not files:
            break
        path = files[generator.integers(len(files))]
        kinds = MUTATIONS | _OF_SUFFIX.get(path.suffix, {})
        # Half of the damage is of the file's own kind: bytes alone seldom get beyond the first check.
        own = list(_OF_SUFFIX.get(path.suffix, {}))
        name = str(generator.choice(own if own and generator.random() < 0.5 else list(kinds)))
        with suppress(Exception):  # a file that earlier damage has made unreadable stays as it is
            kinds[name](path, generator)
            done.append(f"{path.relative_to(folder)}: {name}")
    return done


def reseal(folder: Path) -> None:
    """Write the hashes of a folder's manifest anew, so that they are right and hide nothing behind them."""
    for root in _ROOTS:
        path = folder / root
        with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if "sha256" in manifest:
                manifest["sha256"] = file_hash(path.with_name("policy.safetensors"))
            if isinstance(manifest.get("files"), dict):
                held = {name: value for name, value in manifest["files"].items() if (folder / name).is_file()}
                manifest["files"] |= {name: file_hash(folder / name) for name in held}
            path.write_text(json.dumps(manifest), encoding="utf-8")


# Bytes


def _bytes(change: Callable[[bytearray, np.random.Generator], bytes]) -> Mutation:
    def apply(path: Path, generator: np.random.Generator) -> None:
        path.write_bytes(change(bytearray(path.read_bytes()), generator))

    return apply


def _flip(content: bytearray, generator: np.random.Generator) -> bytes:
    for place in generator.integers(0, len(content), int(generator.integers(1, 20))):
        content[place] ^= 1 << int(generator.integers(8))
    return bytes(content)


def _overwrite(content: bytearray, generator: np.random.Generator) -> bytes:
    start, length = int(generator.integers(len(content))), int(generator.integers(1, 64))
    content[start : start + length] = generator.bytes(length) if generator.random() < 0.5 else bytes(length)
    return bytes(content)


def _duplicate(content: bytearray, generator: np.random.Generator) -> bytes:
    start, end = sorted(int(place) for place in generator.integers(0, len(content) + 1, 2))
    return bytes(content[:end] + content[start:end] + content[end:])


def _cut(content: bytearray, generator: np.random.Generator) -> bytes:
    start, end = sorted(int(place) for place in generator.integers(0, len(content) + 1, 2))
    return bytes(content[:start] + content[end:])


def _truncate(content: bytearray, generator: np.random.Generator) -> bytes:
    return bytes(content[: generator.integers(len(content))])


def _vanish(path: Path, generator: np.random.Generator) -> None:
    path.unlink()
    if generator.random() < 0.3:
        path.mkdir()


MUTATIONS: dict[str, Mutation] = {
    "bits flipped": _bytes(_flip),
    "overwritten": _bytes(_overwrite),
    "truncated": _bytes(_truncate),
    "cut": _bytes(_cut),
    "duplicated": _bytes(_duplicate),
    "appended": _bytes(lambda content, generator: bytes(content) + generator.bytes(100)),
    "emptied": _bytes(lambda content, generator: b""),
    "gone": _vanish,
}
"""Of any file."""


# JSON


def _json(change: Callable[[Any, str, np.random.Generator], None]) -> Mutation:
    """Change one entry of one of the objects or lists inside."""

    def apply(path: Path, generator: np.random.Generator) -> None:
        value = json.loads(path.read_text(encoding="utf-8"))
        places = list(_places(value))
        change(*places[generator.integers(len(places))], generator)
        path.write_text(json.dumps(value), encoding="utf-8")

    return apply


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything inside a value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def _set_hostile(container: Any, key: Any, generator: np.random.Generator) -> None:
    container[key] = _HOSTILE[generator.integers(len(_HOSTILE))]


def _rename(container: Any, key: Any, generator: np.random.Generator) -> None:
    if isinstance(container, dict):
        names = ("../../escape", "/dev/zero", _CLASS, "", "x" * 5000, "nul\0", "more")
        container[names[generator.integers(len(names))]] = container.pop(key)


def _remove(container: Any, key: Any, generator: np.random.Generator) -> None:
    del container[key]


def _repeat_key(path: Path, generator: np.random.Generator) -> None:
    text = path.read_text(encoding="utf-8")
    key = next(iter(json.loads(text)))
    path.write_text(text.replace("{", "{" + json.dumps(key) + ": null, ", 1), encoding="utf-8")


def _deepen(path: Path, generator: np.random.Generator) -> None:
    path.write_text('{"a": ' * 50_000 + "1" + "}" * int(generator.choice([0, 50_000])), encoding="utf-8")


# Tensors


def _tensors(change: Callable[[dict[str, torch.Tensor], str, np.random.Generator], None]) -> Mutation:
    def apply(path: Path, generator: np.random.Generator) -> None:
        tensors: dict[str, torch.Tensor] = {name: value.clone() for name, value in load_file(path).items()}
        change(tensors, str(generator.choice(list(tensors))), generator)
        path.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}))

    return apply


def _fill(tensors: dict[str, torch.Tensor], name: str, generator: np.random.Generator) -> None:
    flat = tensors[name].reshape(-1)
    worst = [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 0.0, -1.0, 1e-38]
    some = generator.integers(0, flat.numel(), 1 if generator.random() < 0.5 else flat.numel())
    flat[torch.from_numpy(some)] = float(generator.choice(worst))


def _reshape(tensors: dict[str, torch.Tensor], name: str, generator: np.random.Generator) -> None:
    value = tensors[name]
    shapes: list[torch.Tensor] = [value[None], value.reshape(-1), value[..., :0], value.new_ones(()), value[:1]]
    tensors[name] = shapes[generator.integers(len(shapes))].clone()


def _retype(tensors: dict[str, torch.Tensor], name: str, generator: np.random.Generator) -> None:
    kinds = [torch.float16, torch.float64, torch.int64, torch.bool, torch.uint8, torch.bfloat16, torch.float8_e4m3fn]
    tensors[name] = tensors[name].to(kinds[generator.integers(len(kinds))])


def _retitle(tensors: dict[str, torch.Tensor], name: str, generator: np.random.Generator) -> None:
    value = tensors.pop(name)
    if generator.random() < 0.5:
        tensors[str(generator.choice([name + "x", "__metadata", "../escape", "model.", ""]))] = value


def _promise(path: Path, generator: np.random.Generator) -> None:
    """Change what the header of a safetensors file says: its length, or a shape, an offset or a kind in it."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].decode()
    if generator.random() < 0.3:
        length = int(generator.choice([0, 1, 2**20 + 1, 10**8, 2**40, 2**62]))
    else:
        entries = json.loads(header)
        places = [place for place in _places(entries) if not isinstance(place[0][place[1]], dict | list)]
        container, key = places[generator.integers(len(places))]
        worst = [0, -1, 7, 2**31, 2**62, 2**70, "F64", "BOOL", "F8_E4M3", "X99", None]
        container[key] = worst[generator.integers(len(worst))]
        header = json.dumps(entries)
        length = len(header)
    path.write_bytes(
        length.to_bytes(8, "little") + header.encode() + content[8 + int.from_bytes(content[:8], "little") :]
    )


# Tables


def _table(change: Callable[[pa.Table, int, np.random.Generator], pa.Table]) -> Mutation:
    def apply(path: Path, generator: np.random.Generator) -> None:
        table = pq.ParquetFile(path).read()
        pq.write_table(change(table, int(generator.integers(table.num_columns)), generator), path)

    return apply


def _set_column(table: pa.Table, index: int, values: Any) -> pa.Table:
    return table.set_column(index, table.column_names[index], values)


def _retype_column(table: pa.Table, index: int, generator: np.random.Generator) -> pa.Table:
    rows = table.num_rows
    columns = [
        pa.array(["text"] * rows),
        pa.nulls(rows),
        pa.array(np.zeros(rows)),
        pa.array(np.full(rows, 2**62)),
        pa.array([[1.0] * (row % 3) for row in range(rows)]),
        pa.array([b"bytes"] * rows).dictionary_encode(),
        pa.array([{"a": 1}] * rows),
        pa.array(np.zeros(rows, "datetime64[ns]")),
        pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * 50, np.float32)), 50),
    ]
    return _set_column(table, index, columns[generator.integers(len(columns))])


def _spoil_values(table: pa.Table, index: int, generator: np.random.Generator) -> pa.Table:
    values = table.column(index).to_pylist()
    row = int(generator.integers(len(values)))
    worst: list[Any] = [None, float("nan"), float("inf"), 2**62, -1, 0, True]
    chosen = worst[generator.integers(len(worst))]
    values[row] = [chosen] * len(values[row]) if isinstance(values[row], list) and chosen is not None else chosen
    return _set_column(table, index, pa.array(values, table.schema.field(index).type))


def _shuffle_rows(table: pa.Table, index: int, generator: np.random.Generator) -> pa.Table:
    rows = generator.integers(0, table.num_rows, int(generator.integers(0, 2 * table.num_rows)))
    return table.take(pa.array(rows))


def _rename_column(table: pa.Table, index: int, generator: np.random.Generator) -> pa.Table:
    names = list(table.column_names)
    names[index] = str(generator.choice([*names, "", "x" * 3000, "stats/../x"]))
    return table.rename_columns(names)


_OF_SUFFIX: dict[str, dict[str, Mutation]] = {
    ".json": {
        "hostile value": _json(_set_hostile),
        "hostile name": _json(_rename),
        "entry missing": _json(_remove),
        "key twice": _repeat_key,
        "depth without end": _deepen,
    },
    ".safetensors": {
        "values": _tensors(_fill),
        "shape": _tensors(_reshape),
        "kind of number": _tensors(_retype),
        "name": _tensors(_retitle),
        "header": _promise,
    },
    ".parquet": {
        "column of another kind": _table(_retype_column),
        "values": _table(_spoil_values),
        "rows": _table(_shuffle_rows),
        "name of a column": _table(_rename_column),
        "column missing": _table(lambda table, index, generator: table.remove_column(index)),
    },
    ".mp4": {"header": _bytes(lambda content, generator: bytes(content[:-600]) + _flip(content[-600:], generator))},
}
"""Suffix -> damage that only makes sense there."""
