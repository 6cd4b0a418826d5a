"""Tiny models of every format, written byte by byte and independently of the code that reads them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
SCALARS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))

Entry = tuple[str, int, Any]


class GgufWriter:
    """Writes GGUF of any version and byte order; nothing is checked, so that it can write wrong files too."""

    def __init__(self, version: int = 3, big_endian: bool = False, alignment: int = 32) -> None:
        self.version = version
        self.order = ">" if big_endian else "<"
        self.alignment = alignment
        self.wide = "Q" if version > 1 else "I"

    def pack(self, letter: str, *values: Any) -> bytes:
        """Numbers in the file's byte order."""
        return struct.pack(self.order + letter, *values)

    def string(self, text: str | bytes) -> bytes:
        """A length and the text's bytes."""
        data = text.encode() if isinstance(text, str) else text
        return self.pack(self.wide, len(data)) + data

    def value(self, kind: int, value: Any) -> bytes:
        """A value; an array is given as (element type, elements)."""
        if kind == STRING:
            return self.string(value)
        if kind == ARRAY:
            inner, items = value
            head = self.pack("I", inner) + self.pack(self.wide, len(items))
            return head + b"".join(self.value(inner, item) for item in items)
        return self.pack(SCALARS[kind], value)

    def entry(self, key: str | bytes, kind: int, value: Any) -> bytes:
        """A metadata entry."""
        return self.string(key) + self.pack("I", kind) + self.value(kind, value)

    def tensor(self, name: str | bytes, shape: Sequence[int], kind: int, offset: int) -> bytes:
        """A row of the tensor table."""
        dims = b"".join(self.pack(self.wide, length) for length in shape)
        return self.string(name) + self.pack("I", len(shape)) + dims + self.pack("IQ", kind, offset)

    def header(self, tensors: int, entries: int) -> bytes:
        """Magic, version and counts."""
        return b"GGUF" + self.pack("I", self.version) + self.pack(self.wide * 2, tensors, entries)

    def file(
        self,
        entries: Iterable[Entry],
        tensors: Sequence[tuple[str, tuple[int, ...], int, bytes]] = (),
    ) -> bytes:
        """A whole file; tensors are (name, shape, ggml type, data) and are placed one after the other."""
        entries = list(entries)
        out = self.header(len(tensors), len(entries)) + b"".join(self.entry(*entry) for entry in entries)
        offset = 0
        data = b""
        for name, shape, kind, content in tensors:
            out += self.tensor(name, shape, kind, offset)
            data += content + bytes(-len(content) % self.alignment)
            offset = len(data)
        return out + bytes(-len(out) % self.alignment) + data


def llama_entries(
    *, layers: int = 2, width: int = 64, heads: int = 4, heads_kv: int = 2, vocabulary: int = 32
) -> list[Entry]:
    """The metadata of a small Llama model."""
    return [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "tiny"),
        ("llama.block_count", U32, layers),
        ("llama.context_length", U32, 512),
        ("llama.embedding_length", U32, width),
        ("llama.feed_forward_length", U32, 2 * width),
        ("llama.attention.head_count", U32, heads),
        ("llama.attention.head_count_kv", U32, heads_kv),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, [f"token{number}" for number in range(vocabulary)])),
        ("tokenizer.ggml.scores", ARRAY, (F32, [0.0] * vocabulary)),
        ("tokenizer.chat_template", STRING, "{{ messages }}"),
        ("general.file_type", U32, 7),
    ]


def q8_0(count: int) -> bytes:
    """Zeros in the type Q8_0."""
    return bytes(count // 32 * 34)


def llama_tensors(
    *, layers: int = 2, width: int = 64, vocabulary: int = 32, tied: bool = False
) -> list[tuple[str, tuple[int, ...], int, bytes]]:
    """The tensors that go with `llama_entries`, far fewer per layer than a real model has."""
    rows: list[tuple[str, tuple[int, ...], int, bytes]] = [
        ("token_embd.weight", (width, vocabulary), 8, q8_0(width * vocabulary))
    ]
    for layer in range(layers):
        rows.append((f"blk.{layer}.attn_norm.weight", (width,), 0, bytes(4 * width)))
        rows.append((f"blk.{layer}.attn_q.weight", (width, width), 8, q8_0(width * width)))
    rows.append(("output_norm.weight", (width,), 0, bytes(4 * width)))
    if not tied:
        rows.append(("output.weight", (width, vocabulary), 8, q8_0(width * vocabulary)))
    return rows


def llama_gguf(**sizes: Any) -> bytes:
    """A small, valid Llama model in GGUF version 3."""
    return GgufWriter().file(llama_entries(**sizes), llama_tensors())


def every_type_gguf(version: int = 3, big_endian: bool = False) -> bytes:
    """A GGUF file with a value of every type, arrays of every type, and arrays in arrays."""
    values: dict[int, Any] = {
        U8: 7,
        I8: -7,
        U16: 700,
        I16: -700,
        U32: 70000,
        I32: -70000,
        F32: 0.5,
        BOOL: True,
    }
    values |= {U64: 1 << 40, I64: -(1 << 40), F64: 0.25, STRING: "text \u00e9"}
    entries: list[Entry] = [("general.architecture", STRING, "llama")]
    entries += [(f"scalar.{kind}", kind, value) for kind, value in values.items()]
    entries += [(f"array.{kind}", ARRAY, (kind, [value] * 3)) for kind, value in values.items()]
    nested = [(U8, [1, 2]), (STRING, ["a", "bc"]), (ARRAY, [(U16, [3])])]
    entries += [("nested", ARRAY, (ARRAY, nested)), ("empty", ARRAY, (STRING, []))]
    return GgufWriter(version, big_endian).file(entries, llama_tensors(layers=1))


def shards(count: int = 3) -> dict[str, bytes]:
    """A model split over several GGUF files, by file name."""
    tensors = llama_tensors(layers=count)
    parts = [tensors[number::count] for number in range(count)]
    files = {}
    for number, part in enumerate(parts):
        entries = llama_entries(layers=count) if number == 0 else []
        entries += [
            ("split.no", U16, number),
            ("split.count", U16, count),
            ("split.tensors.count", I32, len(tensors)),
        ]
        files[f"tiny-{number + 1:05d}-of-{count:05d}.gguf"] = GgufWriter().file(entries, part)
    return files


def safetensors(
    tensors: Mapping[str, tuple[str, Sequence[int], bytes]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file of (dtype, shape, data) rows."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    return raw_safetensors(json.dumps(header).encode(), data)


def raw_safetensors(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    return struct.pack("<Q", len(header)) + header + data


def llama_safetensors(layers: int = 2, width: int = 8, vocabulary: int = 16) -> bytes:
    """The weights of a small Llama model in safetensors."""
    rows: dict[str, tuple[str, Sequence[int], bytes]] = {
        "model.embed_tokens.weight": ("F16", (vocabulary, width), bytes(2 * vocabulary * width))
    }
    for layer in range(layers):
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        rows[name] = ("F16", (width, width), bytes(2 * width * width))
    rows["model.norm.weight"] = ("F16", (width,), bytes(2 * width))
    rows["lm_head.weight"] = ("F16", (vocabulary, width), bytes(2 * vocabulary * width))
    return safetensors(rows, {"format": "pt"})


def llama_config(**changes: Any) -> bytes:
    """A `config.json`."""
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "vocab_size": 16,
    }
    return json.dumps(config | changes).encode()


def huggingface_files() -> dict[str, bytes]:
    """A Hugging Face model directory, by file name."""
    return {
        "config.json": llama_config(),
        "model.safetensors": llama_safetensors(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"tokenizer_class": "LlamaTokenizer", "chat_template": "{{ messages }}"}',
    }


def sharded_huggingface_files() -> dict[str, bytes]:
    """The same model with its weights in two files."""
    first = safetensors({"model.embed_tokens.weight": ("F16", (16, 8), bytes(256))})
    second = safetensors({"lm_head.weight": ("F16", (16, 8), bytes(256))})
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    weight_map = {"model.embed_tokens.weight": names[0], "lm_head.weight": names[1]}
    index = json.dumps({"metadata": {"total_size": 512}, "weight_map": weight_map}).encode()
    return {
        "config.json": llama_config(),
        "model.safetensors.index.json": index,
        names[0]: first,
        names[1]: second,
    }


def adapter_files() -> dict[str, bytes]:
    """A LoRA adapter's directory, by file name."""
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "org/base"}
    weights = {"base_model.model.layers.0.q_proj.lora_A.weight": ("F32", (2, 4), bytes(32))}
    return {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": safetensors(weights),
    }


def _short(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value: int) -> bytes:
    return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)


def state_dict_pickle(tensors: Mapping[str, tuple[str, Sequence[int]]], extra: bytes = b"") -> bytes:
    """The pickle that `torch.save` makes of tensors given as (storage class, shape)."""
    out = b"\x80\x02ccollections\nOrderedDict\n)R("
    for number, (name, (storage, shape)) in enumerate(tensors.items()):
        count = 1
        for length in shape:
            count *= length
        out += _short(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += _short("storage") + f"ctorch\n{storage}\n".encode() + _short(str(number)) + _short("cpu")
        out += _number(count) + b"tQK\x00("
        out += b"".join(_number(length) for length in shape) + b"t(" + b"K\x01" * len(shape) + b"t\x89"
        out += b"ccollections\nOrderedDict\n)RtR"
    return out + b"u" + extra + b"."


LLAMA_STATE = {
    "model.embed_tokens.weight": ("HalfStorage", (16, 8)),
    "model.layers.0.self_attn.q_proj.weight": ("HalfStorage", (8, 8)),
    "lm_head.weight": ("HalfStorage", (16, 8)),
}


def pytorch_zip(pickle: bytes | None = None) -> bytes:
    """A checkpoint in the zip form."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", state_dict_pickle(LLAMA_STATE) if pickle is None else pickle)
        archive.writestr("model/data/0", bytes(256))
        archive.writestr("model/version", "3\n")
    return out.getvalue()


def pytorch_legacy() -> bytes:
    """A checkpoint in the form before torch 1.6."""
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    system = b"\x80\x02}q\x00(" + _short("little_endian") + b"\x88u."
    keys = b"\x80\x02]q\x00(" + _short("0") + b"e."
    return magic + b"\x80\x02M\xe9\x03." + system + state_dict_pickle(LLAMA_STATE) + keys + bytes(1024)


def ggjt(version: int = 3, *, magic: bytes = b"tjgg", vocabulary: int = 5, layers: int = 2) -> bytes:
    """A small Llama model in GGJT, or with another magic in GGMF or GGML."""
    width, heads = 64, 4
    out = magic + (b"" if magic == b"lmgg" else struct.pack("<I", version))
    out += struct.pack("<7I", vocabulary, width, 256, heads, layers, width // heads, 2)
    for number in range(vocabulary):
        word = f"w{number}".encode()
        out += struct.pack("<I", len(word)) + word
        out += b"" if magic == b"lmgg" else struct.pack("<f", 0.0)
    block = 18 if version == 3 and magic == b"tjgg" else 20
    aligned = magic == b"tjgg"
    out += ggml_tensor(out, "tok_embeddings.weight", (width, vocabulary), 2, block, aligned=aligned)
    for layer in range(layers):
        name = f"layers.{layer}.attention.wq.weight"
        out += ggml_tensor(out, name, (width, width), 2, block, aligned=aligned)
    out += ggml_tensor(out, "norm.weight", (width,), 0, 128, aligned=aligned)
    return out + ggml_tensor(out, "output.weight", (width, vocabulary), 2, block, aligned=aligned)


def ggml_tensor(
    before: bytes, name: str, shape: Sequence[int], kind: int, block: int, *, aligned: bool
) -> bytes:
    """A tensor as the formats before GGUF store it; `block` is the bytes of 32 values."""
    head = struct.pack("<3I", len(shape), len(name), kind)
    head += struct.pack(f"<{len(shape)}I", *shape) + name.encode()
    head += bytes(-(len(before) + len(head)) % 32) if aligned else b""
    count = 1
    for length in shape:
        count *= length
    return head + bytes(count // 32 * block)


def gpt2_ggml() -> bytes:
    """A small GPT-2 model in GGML without a version."""
    width, vocabulary = 64, 4
    out = b"lmgg" + struct.pack("<6I", vocabulary, 128, width, 4, 1, 0) + struct.pack("<I", vocabulary)
    for number in range(vocabulary):
        out += struct.pack("<I", 1) + bytes([97 + number])
    out += ggml_tensor(out, "model/wte", (width, vocabulary), 0, 128, aligned=False)
    return out + ggml_tensor(out, "model/h0/attn/c_attn/w", (width, 3 * width), 1, 64, aligned=False)


def ggla() -> bytes:
    """A LoRA adapter in GGLA."""
    out = b"algg" + struct.pack("<3I", 1, 8, 16)
    return out + ggml_tensor(out, "layers.0.attention.wq.weight.loraA", (32, 8), 0, 128, aligned=True)


def llamafile(
    model: bytes | None = None,
    *,
    arguments: str = "-m\ntiny.gguf\n",
    name: str = "tiny.gguf",
    method: int = zipfile.ZIP_STORED,
    prefix: bytes = b"MZqFpD='\n" + bytes(503),
    shifted: bool = False,
) -> bytes:
    """An executable with a model in the zip archive at its end.

    With `shifted`, the archive's offsets count from its own beginning, as plain concatenation leaves them.
    """
    archive = io.BytesIO()
    if not shifted:
        archive.write(prefix)
    with zipfile.ZipFile(archive, "a", method) as target:
        if model != b"":
            target.writestr(name, llama_gguf() if model is None else model)
        target.writestr(".args", arguments)
    return (prefix if shifted else b"") + archive.getvalue()


LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 123456789\n"
)
WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n"


def write_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Write a directory's files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def single_files() -> dict[str, bytes]:
    """One small sample of every format that is a single file, by file name."""
    return {
        "llama.gguf": llama_gguf(),
        "every.gguf": every_type_gguf(),
        "every-v1.gguf": every_type_gguf(1),
        "every-v2.gguf": every_type_gguf(2),
        "every-big.gguf": every_type_gguf(3, big_endian=True),
        "vocabulary.gguf": GgufWriter().file(llama_entries()),
        "model.safetensors": llama_safetensors(),
        "model.pt": pytorch_zip(),
        "legacy.bin": pytorch_legacy(),
        "ggjt3.bin": ggjt(3),
        "ggjt1.bin": ggjt(1),
        "ggmf.bin": ggjt(1, magic=b"fmgg"),
        "ggml.bin": ggjt(1, magic=b"lmgg"),
        "gpt2.bin": gpt2_ggml(),
        "adapter.bin": ggla(),
        "tiny.llamafile": llamafile(),
        "elf.llamafile": llamafile(prefix=b"\x7fELF" + bytes(200), shifted=True),
        "pointer.gguf": LFS_POINTER,
        "page.gguf": WEB_PAGE,
    }


def directories() -> dict[str, dict[str, bytes]]:
    """One small sample of every format that is a directory, by name and file name."""
    return {
        "huggingface": huggingface_files(),
        "sharded": sharded_huggingface_files(),
        "adapter": adapter_files(),
        "shards": shards(),
        "pytorch": {"config.json": llama_config(), "pytorch_model.bin": pytorch_zip()},
    }
