"""Splits a GGUF file as llama.cpp's ``gguf-split`` does."""

from pathlib import Path

import gguf

type_ = gguf.GGUFValueType


def split_gguf(whole: Path, folder: Path, count: int) -> list[Path]:
    """Write the model as ``count`` parts into ``folder``: metadata in the first one, tensors in all."""
    reader = gguf.GGUFReader(whole)
    per_part = -(-len(reader.tensors) // count)
    paths = []
    for number in range(count):
        path = folder / f"{whole.stem}-{number + 1:05}-of-{count:05}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.kv_data[0].clear()
        if number == 0:
            _copy_metadata(reader, writer)
        writer.add_key_value("split.no", number, type_.UINT16)
        writer.add_key_value("split.count", count, type_.UINT16)
        writer.add_key_value("split.tensors.count", len(reader.tensors), type_.INT32)
        for tensor in reader.tensors[number * per_part : (number + 1) * per_part]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def _copy_metadata(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> None:
    for key, field in reader.fields.items():
        if not key.startswith("GGUF."):
            writer.add_key_value(key, field.contents(), field.types[0])
