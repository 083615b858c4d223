"""What goes wrong with weights: each damage changes files of a good layout, and says how the check has to call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.unit.weights.layouts import Files, safetensors, with_header

INDEX = "model.safetensors.index.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4976698672\n"


@dataclass(frozen=True)
class Expected:
    """How a damage is to be called.

    :param code: the kind of finding.
    :param key: the object that it is about; None: none.
    :param tensor: the tensor, if it is about one.
    """

    code: str
    key: str | None
    tensor: str | None = None


Damage = Callable[[Files, Random], Expected | None]
"""Changes the files in place, and returns None if there is nothing in them that it could damage."""
DAMAGES: dict[str, Damage] = {}
Oddity = Callable[[Files, Random], None]
"""Changes the files in place to what is unusual and works with the format's own library or with common readers."""
ODDITIES: dict[str, Oddity] = {}


def damage(function: Damage) -> Damage:
    DAMAGES[function.__name__] = function
    return function


def oddity(function: Oddity) -> Oddity:
    ODDITIES[function.__name__] = function
    return function


def model_files(files: Files) -> list[str]:
    """The files that the model is made of."""
    if INDEX in files:
        return sorted(set(weight_map(files).values()))
    return sorted(key for key in files if "/" not in key and key.endswith(".safetensors"))


def weight_map(files: Files) -> dict[str, str]:
    found: dict[str, str] = json.loads(files[INDEX])["weight_map"]
    return found


def set_weight_map(files: Files, changed: dict[str, str]) -> None:
    files[INDEX] = json.dumps({"metadata": {}, "weight_map": changed}).encode()


def header_of(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return found


def set_header(files: Files, key: str, header: dict[str, Any] | bytes) -> None:
    content = files[key]
    data = content[8 + int.from_bytes(content[:8], "little") :]
    files[key] = with_header(header if isinstance(header, bytes) else json.dumps(header).encode(), data)


def tensors_of(content: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        name: (entry["dtype"], tuple(entry["shape"]))
        for name, entry in header_of(content).items()
        if name != "__metadata__"
    }


def some_file(files: Files, random: Random) -> str:
    return random.choice(model_files(files))


def some_tensor(files: Files, random: Random) -> tuple[str, str]:
    key = random.choice([each for each in model_files(files) if tensors_of(files[each])])
    return key, random.choice(list(tensors_of(files[key])))


def change_config(files: Files, **changes: Any) -> None:
    config = json.loads(files["config.json"])
    nested = config.get("text_config")
    (nested if nested is not None else config).update(changes)
    files["config.json"] = json.dumps(config).encode()


def config_value(files: Files, name: str) -> Any:
    config = json.loads(files["config.json"])
    return {**config, **config.get("text_config", {})}[name]


# Files


@damage
def nothing_is_there(files: Files, random: Random) -> Expected:
    files.clear()
    return Expected("nothing-there", None)


@damage
def weights_are_in_a_checkpoint_only(files: Files, random: Random) -> Expected:
    for key in [each for each in files if "/" in each or each == INDEX]:
        del files[key]
    for key in [each for each in files if each.endswith(".safetensors")]:
        files[f"checkpoint-500/{key}"] = files.pop(key)
    return Expected("weights-in-a-folder", "checkpoint-500/")


def _of_another_format(files: Files, name: str) -> Expected:
    for key in [each for each in files if each.endswith(".safetensors") or each == INDEX or "/" in each]:
        del files[key]
    files[name] = b"in another format"
    return Expected("other-format", name)


@damage
def only_pickles_are_there(files: Files, random: Random) -> Expected:
    return _of_another_format(files, "pytorch_model.bin")


@damage
def only_gguf_is_there(files: Files, random: Random) -> Expected:
    return _of_another_format(files, "model-q4.gguf")


@damage
def only_a_distributed_checkpoint_is_there(files: Files, random: Random) -> Expected:
    return _of_another_format(files, "__0_0.distcp")


@damage
def only_an_archive_is_there(files: Files, random: Random) -> Expected:
    files.clear()
    files["model.tar.gz"] = b"\x1f\x8b an archive"
    return Expected("archive", "model.tar.gz")


@damage
def a_file_is_a_git_lfs_pointer(files: Files, random: Random) -> Expected:
    key = random.choice([*model_files(files), "config.json", *[each for each in files if each == INDEX]])
    files[key] = POINTER
    return Expected("git-lfs-pointer", key)


@damage
def a_file_is_a_web_page(files: Files, random: Random) -> Expected:
    key = random.choice([*model_files(files), "config.json"])
    files[key] = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"
    return Expected("web-page", key)


@damage
def a_file_is_empty(files: Files, random: Random) -> Expected:
    key = random.choice([*model_files(files), "config.json", *[each for each in files if each == INDEX]])
    files[key] = b""
    return Expected("empty-object", key)


@damage
def a_file_is_cut_off(files: Files, random: Random) -> Expected | None:
    key = some_file(files, random)
    content = files[key]
    header_end = 8 + int.from_bytes(content[:8], "little")
    if len(content) == header_end:
        return None
    files[key] = content[: random.randrange(11, len(content))]
    return Expected("cut-off", key)


@damage
def a_file_has_bytes_left_over(files: Files, random: Random) -> Expected:
    key = some_file(files, random)
    files[key] += b"\0" * random.randrange(1, 100)
    return Expected("bytes-left-over", key)


@damage
def a_file_is_something_else(files: Files, random: Random) -> Expected:
    key = some_file(files, random)
    files[key] = random.choice([b"PK\x03\x04", b"GGUF", b"\x80\x02}", b"", b"\xff" * 9]) + random.randbytes(50)
    return Expected("not-safetensors", key)


@damage
def a_header_claims_more_than_any_may_have(files: Files, random: Random) -> Expected:
    key = some_file(files, random)
    files[key] = random.randrange(100_000_001, 1 << 64).to_bytes(8, "little") + files[key][8:]
    return Expected("not-safetensors", key)


@damage
def a_tensor_overlaps_another(files: Files, random: Random) -> Expected | None:
    key = some_file(files, random)
    header = header_of(files[key])
    names = [name for name in header if name != "__metadata__"]
    if len(names) < 2:
        return None
    second = names[1]
    begin, end = header[second]["data_offsets"]
    header[second]["data_offsets"] = [begin - 1, end - 1]
    set_header(files, key, header)
    return Expected("bad-header", key, second)


@damage
def a_header_has_a_key_twice(files: Files, random: Random) -> Expected:
    key = some_file(files, random)
    entry = b'"twice":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    set_header(files, key, b"{" + entry + b"," + entry + b"}")
    return Expected("bad-header", key)


@damage
def a_header_is_not_json(files: Files, random: Random) -> Expected:
    key = some_file(files, random)
    bad = [
        b'{"a":',
        b'{"\xff":1}',
        b'{"a":' * 100_000,
        b"{" + b" " * 50,
        b'{"a":{"dtype":"F32","shape":[1]}}',
        b'{"a":1}',
    ]
    bad += [
        b'{"__metadata__":{"a":1}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}',
        b'{"a":%s}' % (b"9" * 5000),
    ]
    bad += [b'{"\\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}']
    bad += [b'{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,8]}}' % b",".join([b"9" * 18] * 1000)]
    set_header(files, key, random.choice(bad))
    return Expected("bad-header", key)


@damage
def a_header_is_utf_16(files: Files, random: Random) -> Expected:
    key = some_file(files, random)
    content = json.dumps(header_of(files[key]))
    set_header(files, key, (content + " " * (-len(content) % 4)).encode("utf-16-le"))
    return Expected("bad-header", key)


@damage
def a_dtype_is_not_known(files: Files, random: Random) -> Expected:
    key, tensor = some_tensor(files, random)
    header = header_of(files[key])
    header[tensor]["dtype"] = "F31"
    set_header(files, key, header)
    return Expected("unknown-dtype", key, tensor)


@damage
def shards_of_an_older_save_are_left(files: Files, random: Random) -> Expected:
    key = some_file(files, random)
    files["model-00002-of-00077.safetensors"] = files[key]
    mixed = INDEX not in files and len(model_files(files)) > 2
    return Expected("several-saves" if mixed else "old-shards", "model-00002-of-00077.safetensors")


@damage
def a_whole_model_is_beside_shards(files: Files, random: Random) -> Expected | None:
    if len(model_files(files)) < 2:
        return None
    tensors = {name: each for key in model_files(files) for name, each in tensors_of(files[key]).items()}
    files["model.safetensors"] = safetensors(tensors)
    return Expected("whole-beside-shards", "model.safetensors")


@damage
def there_is_an_adapter_only(files: Files, random: Random) -> Expected:
    for key in [each for each in files if each.endswith(".safetensors") or each in {INDEX, "config.json"}]:
        del files[key]
    files["adapter_model.safetensors"] = safetensors({"base_model.q_proj.lora_A.weight": ("F32", (4, 8))})
    files["adapter_config.json"] = b"{}"
    return Expected("adapter-only", "adapter_model.safetensors")


@damage
def an_optimizer_s_state_is_beside(files: Files, random: Random) -> Expected:
    files["optimizer.pt"] = b"PK\x03\x04 large"
    return Expected("copied-along", "optimizer.pt")


@damage
def a_checkpoint_is_beside(files: Files, random: Random) -> Expected:
    files["checkpoint-500/model.safetensors"] = files[some_file(files, random)]
    return Expected("copied-along", "checkpoint-500/")


@damage
def a_copy_is_beside(files: Files, random: Random) -> Expected:
    files["copy/consolidated.00.pth"] = b"PK\x03\x04 large"
    return Expected("second-copy", "copy/")


# Index


@damage
def a_shard_is_missing(files: Files, random: Random) -> Expected | None:
    shards = model_files(files)
    if len(shards) < 2:
        return None
    # Of shards that count from 0, the last one may be missing without a trace but in an index.
    key = random.choice(shards if INDEX in files or "-00000-" not in shards[0] else shards[:-1])
    if INDEX not in files and "-00000-" in key:
        return None
    del files[key]
    return Expected("shard-missing", key)


@damage
def a_tensor_is_missing(files: Files, random: Random) -> Expected | None:
    if INDEX not in files:
        return None
    key, tensor = some_tensor(files, random)
    files[key] = safetensors({name: each for name, each in tensors_of(files[key]).items() if name != tensor})
    return Expected("tensor-missing", key, tensor)


@damage
def the_index_names_another_shard(files: Files, random: Random) -> Expected | None:
    if INDEX not in files or len(model_files(files)) < 2:
        return None
    key, tensor = some_tensor(files, random)
    if len(tensors_of(files[key])) < 2:
        return None
    other = random.choice([each for each in model_files(files) if each != key])
    set_weight_map(files, {**weight_map(files), tensor: other})
    return Expected("tensor-in-another-shard", other, tensor)


@damage
def a_tensor_is_in_two_shards(files: Files, random: Random) -> Expected | None:
    if len(model_files(files)) < 2:
        return None
    key, tensor = some_tensor(files, random)
    other = random.choice([each for each in model_files(files) if each != key])
    files[other] = safetensors({**tensors_of(files[other]), tensor: tensors_of(files[key])[tensor]})
    return Expected("tensor-in-two-shards", max(key, other), tensor)


@damage
def the_index_does_not_name_a_shard(files: Files, random: Random) -> Expected | None:
    if INDEX not in files:
        return None
    key = some_file(files, random)
    rest = {name: shard for name, shard in weight_map(files).items() if shard != key}
    if not rest or not tensors_of(files[key]):
        return None
    set_weight_map(files, rest)
    return Expected("shard-not-in-index", key)


@damage
def the_index_does_not_name_a_tensor(files: Files, random: Random) -> Expected | None:
    if INDEX not in files:
        return None
    key, tensor = some_tensor(files, random)
    if len(tensors_of(files[key])) < 2:
        return None
    set_weight_map(files, {name: shard for name, shard in weight_map(files).items() if name != tensor})
    return Expected("tensor-not-in-index", key, tensor)


@damage
def the_index_is_none(files: Files, random: Random) -> Expected | None:
    if INDEX not in files:
        return None
    files[INDEX] = random.choice(
        [b"[]", b"{", b"{}", b'{"weight_map": []}', b'{"weight_map": {"a": 1}}', b"[" * 100_000]
    )
    return Expected("bad-index", INDEX)


@damage
def the_index_names_nothing(files: Files, random: Random) -> Expected:
    # Beside a whole model, no more than a warning comes of it.
    set_weight_map(files, {})
    return Expected("bad-index", INDEX)


@damage
def the_index_has_another_name(files: Files, random: Random) -> Expected | None:
    if INDEX not in files:
        return None
    other = "model.fp8.safetensors.index.json"
    changed = {**weight_map(files), "of-another-save": "model.fp8.safetensors"}
    del files[INDEX]
    files[other] = json.dumps({"weight_map": changed}).encode()
    return Expected("other-index", other)


@damage
def another_index_is_none(files: Files, random: Random) -> Expected:
    other = "model.fp8.safetensors.index.json"
    files[other] = b"{"
    return Expected("bad-index", other)


@damage
def the_index_is_missing(files: Files, random: Random) -> Expected | None:
    if INDEX not in files:
        return None
    del files[INDEX]
    return Expected("no-index", None)


@damage
def another_index_names_what_is_not_there(files: Files, random: Random) -> Expected | None:
    if INDEX not in files:
        return None
    files["model.fp8.safetensors.index.json"] = b'{"weight_map": {"a": "model.fp8.safetensors"}}'
    return Expected("other-index", "model.fp8.safetensors.index.json")


# Config


@damage
def the_configuration_is_missing(files: Files, random: Random) -> Expected:
    del files["config.json"]
    return Expected("no-config", "config.json")


@damage
def the_configuration_is_none(files: Files, random: Random) -> Expected:
    files["config.json"] = random.choice([b"[]", b"{", b"null", b"\xff\xfe\xfd", b"[" * 100_000])
    return Expected("bad-config", "config.json")


@damage
def the_weights_are_of_another_architecture(files: Files, random: Random) -> Expected | None:
    config = json.loads(files["config.json"])
    if config["model_type"] == "mistral3":
        return None  # what an architecture of that name is made of is not known anyway
    files["config.json"] = json.dumps({**config, "model_type": "gemma3_text"}).encode()
    return Expected("other-architecture", "config.json")


@damage
def the_class_is_of_another_architecture(files: Files, random: Random) -> Expected | None:
    config = json.loads(files["config.json"])
    if config.pop("model_type") == "mistral3":
        return None  # what an architecture of that name is made of is not known anyway
    files["config.json"] = json.dumps({**config, "architectures": ["Gemma3ForCausalLM"]}).encode()
    return Expected("other-architecture", "config.json")


@damage
def the_architecture_is_not_known(files: Files, random: Random) -> Expected | None:
    config = json.loads(files["config.json"])
    if config["model_type"] == "mistral3":
        return None  # what an architecture of that name is made of is not known anyway
    files["config.json"] = json.dumps({**config, "model_type": "of-tomorrow"}).encode()
    return Expected("unknown-architecture", "config.json")


def _embedding(files: Files) -> tuple[str, str]:
    return next(
        (key, name)
        for key in model_files(files)
        for name in tensors_of(files[key])
        if name.endswith("model.embed_tokens.weight")
    )


@damage
def the_vocabulary_has_grown(files: Files, random: Random) -> Expected:
    change_config(files, vocab_size=config_value(files, "vocab_size") + random.randrange(1, 100))
    return Expected("vocabulary-too-small", *_embedding(files))


@damage
def the_embedding_has_grown(files: Files, random: Random) -> Expected:
    change_config(files, vocab_size=config_value(files, "vocab_size") - 1)
    return Expected("vocabulary-larger", *_embedding(files))


@damage
def the_hidden_size_is_another(files: Files, random: Random) -> Expected:
    change_config(files, hidden_size=config_value(files, "hidden_size") * 2)
    return Expected("hidden-size", *_embedding(files))


def _widen(files: Files, ending: str) -> Expected | None:
    """Give one tensor twice as many columns."""
    for key in model_files(files):
        tensors = tensors_of(files[key])
        for name, (dtype, shape) in tensors.items():
            if name.endswith(ending):
                files[key] = safetensors({**tensors, name: (dtype, (*shape[:-1], 2 * shape[-1]))})
                return Expected("hidden-size", key, name)
    return None


@damage
def the_hidden_size_of_the_output_is_another(files: Files, random: Random) -> Expected | None:
    return _widen(files, "lm_head.weight")


@damage
def the_hidden_size_of_a_norm_is_another(files: Files, random: Random) -> Expected | None:
    return _widen(files, random.choice(["model.norm.weight", ".input_layernorm.weight"]))


@damage
def a_layer_is_missing(files: Files, random: Random) -> Expected | None:
    if "num_nextn_predict_layers" in json.loads(files["config.json"]):
        # The layer that predicts ahead stands where the missing one would.
        return None
    change_config(files, num_hidden_layers=config_value(files, "num_hidden_layers") + random.choice([1, 5, 1 << 40]))
    return Expected("layer-missing", INDEX if INDEX in files else model_files(files)[0])


@damage
def there_are_more_layers(files: Files, random: Random) -> Expected | None:
    if (count := config_value(files, "num_hidden_layers")) == 1:
        return None
    change_config(files, num_hidden_layers=count - 1)
    return Expected("more-layers", "config.json")


@damage
def a_weight_is_empty(files: Files, random: Random) -> Expected | None:
    key, tensor = some_tensor(files, random)
    tensors = tensors_of(files[key])
    files[key] = safetensors({**tensors, tensor: (tensors[tensor][0], (0,))})
    return Expected("empty-weight" if tensor.endswith(".weight") else "empty-tensor", key, tensor)


@damage
def blocks_have_no_scales(files: Files, random: Random) -> Expected | None:
    pairs = [
        (key, name, name.replace("_scales", "_blocks"))
        for key in model_files(files)
        for name in tensors_of(files[key])
        if name.endswith("_scales")
    ]
    if not pairs:
        return None
    key, scales, blocks = random.choice(pairs)
    _remove(files, key, scales)
    return Expected("scales-missing", _holder(files, blocks), blocks)


@damage
def scales_have_no_blocks(files: Files, random: Random) -> Expected | None:
    pairs = [
        (key, name, name.replace("_blocks", "_scales"))
        for key in model_files(files)
        for name in tensors_of(files[key])
        if name.endswith("_blocks")
    ]
    if not pairs:
        return None
    key, blocks, scales = random.choice(pairs)
    _remove(files, key, blocks)
    return Expected("scales-missing", _holder(files, scales), scales)


@damage
def scales_are_of_an_unknown_kind(files: Files, random: Random) -> Expected | None:
    key = some_file(files, random)
    if any(name.endswith("_blocks") for each in model_files(files) for name in tensors_of(files[each])):
        return None
    name = "model.rotary_scales"
    files[key] = safetensors({**tensors_of(files[key]), name: ("F32", (4,))})
    if INDEX in files:
        set_weight_map(files, {**weight_map(files), name: key})
    return Expected("scales-missing", key, name)


def _holder(files: Files, tensor: str) -> str:
    return next(key for key in model_files(files) if tensor in tensors_of(files[key]))


def _remove(files: Files, key: str, tensor: str) -> None:
    """Take a tensor out of its file, and out of the index."""
    files[key] = safetensors({name: each for name, each in tensors_of(files[key]).items() if name != tensor})
    if INDEX in files:
        set_weight_map(files, {name: shard for name, shard in weight_map(files).items() if name != tensor})


@damage
def the_quantization_is_not_told(files: Files, random: Random) -> Expected | None:
    config = json.loads(files["config.json"])
    if config.pop("quantization_config", None) is None:
        return None
    files["config.json"] = json.dumps(config).encode()
    return Expected("quantization", "config.json")


@damage
def the_quantization_is_told_and_is_none(files: Files, random: Random) -> Expected | None:
    config = json.loads(files["config.json"])
    if "quantization_config" in config:
        return None
    files["config.json"] = json.dumps({**config, "quantization_config": {"quant_method": "mxfp4"}}).encode()
    return Expected("quantization", "config.json")


@damage
def the_output_is_missing(files: Files, random: Random) -> Expected | None:
    if json.loads(files["config.json"]).get("tie_word_embeddings") is not True:
        return None
    change_config(files, tie_word_embeddings=False)
    return Expected("no-output-head", "config.json")


@damage
def the_tokenizer_is_missing(files: Files, random: Random) -> Expected:
    for key in ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"):
        files.pop(key, None)
    return Expected("tokenizer-missing", None)


@damage
def the_tokenizer_is_a_git_lfs_pointer(files: Files, random: Random) -> Expected:
    files["tokenizer.json"] = POINTER
    return Expected("git-lfs-pointer", "tokenizer.json")


# What is odd, and works


@oddity
def a_tensor_has_a_further_key(files: Files, random: Random) -> None:
    key, tensor = some_tensor(files, random)
    header = header_of(files[key])
    header[tensor]["comment"] = {"of": ["a tool"]}
    set_header(files, key, header)


@oddity
def the_metadata_is_null(files: Files, random: Random) -> None:
    key = some_file(files, random)
    set_header(files, key, {**header_of(files[key]), "__metadata__": None})


@oddity
def the_configuration_has_a_key_twice(files: Files, random: Random) -> None:
    files["config.json"] = files["config.json"].rstrip()[:-1] + b', "dtype": "float16", "dtype": "bfloat16"}'


@oddity
def the_index_has_a_key_twice(files: Files, random: Random) -> None:
    key, tensor = some_tensor(files, random)
    files.setdefault(INDEX, json.dumps({"weight_map": _places(files)}).encode())
    entry = json.dumps({tensor: key})[1:-1].encode()
    files[INDEX] = files[INDEX].replace(b'"weight_map": {', b'"weight_map": {' + entry + b", ")


def _places(files: Files) -> dict[str, str]:
    return {name: key for key in model_files(files) for name in tensors_of(files[key])}


@oddity
def a_broken_file_is_in_a_folder(files: Files, random: Random) -> None:
    files["original/broken.safetensors"] = random.choice([b"", b"half a file", POINTER])


@oddity
def a_broken_file_is_no_part_of_the_model(files: Files, random: Random) -> None:
    files["consolidated.00.safetensors"] = random.choice([b"", b"half a file", POINTER])


@oddity
def the_index_of_an_earlier_save_is_beside_a_whole_model(files: Files, random: Random) -> None:
    tensors = {name: each for key in model_files(files) for name, each in tensors_of(files[key]).items()}
    for key in model_files(files):
        del files[key]
    files["model.safetensors"] = safetensors(tensors)
    shards = dict.fromkeys(tensors, "model-00001-of-00002.safetensors")
    earlier = json.dumps({"weight_map": shards}).encode()
    files[INDEX] = random.choice([earlier, b"{", b"", POINTER, b'{"weight_map": {}}'])


@oddity
def the_shards_are_in_a_folder(files: Files, random: Random) -> None:
    places = _places(files)
    for key in sorted(set(places.values())):
        files[f"weights/{key}"] = files.pop(key)
    set_weight_map(files, {name: f"weights/{key}" for name, key in places.items()})


@oddity
def the_embedding_is_packed(files: Files, random: Random) -> None:
    key, tensor = _embedding(files)
    rows, columns = tensors_of(files[key])[tensor][1]
    files[key] = safetensors({**tensors_of(files[key]), tensor: ("U32", (rows, columns // 8))})
