"""Writes safetensors files by the format's description, without its library. Tests compare it with the library."""

import json

import numpy as np

DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64"}


def header_of(state) -> dict:
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    for name, array in state.items():
        end = begin + array.nbytes
        dtype = DTYPES[str(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    return header


def with_header(header, data: bytes) -> bytes:
    """Returns a file with this header (as text, or as what becomes JSON)."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def safetensors_file(state) -> bytes:
    return with_header(header_of(state), b"".join(np.ascontiguousarray(array).tobytes() for array in state.values()))
