"""Good layouts that are generated, and unusual ones that work."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.unit.weights.damages import header_of, set_header
from tests.unit.weights.layouts import (
    HIDDEN,
    LAYOUTS,
    TOKENIZER,
    VOCABULARY,
    Files,
    Tensors,
    config,
    from_one,
    llama_tensors,
    safetensors,
    sharded,
)

CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
HARMLESS = {
    "README.md": b"# A model",
    ".gitattributes": b"*.safetensors filter=lfs",
    "training_args.bin": b"PK\x03\x04 small",
    "original/params.json": b"{}",
    "original/model.safetensors": safetensors({"embedding.weight": ("BF16", (VOCABULARY, HIDDEN))}),
    "checkpoint-5/model.safetensors": safetensors({"model.norm.weight": ("BF16", (HIDDEN,))}),
    "runs/events.out": b"1",
}
"""What may lie beside a model."""
ARCHITECTURES = {"llama": "llama3.1-8b", "qwen2": "qwen-2.5-7b", "qwen3": "qwen-3-32b"}


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, Files]:
    """A good layout, and the architecture that it is meant for."""
    if draw(st.booleans()):
        arch, make = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
        return arch, make()
    family = draw(st.sampled_from(sorted(CLASSES)))
    layers, tied, shards = draw(st.integers(1, 4)), draw(st.booleans()), draw(st.integers(1, 9))
    tensors = llama_tensors(layers, qkv_bias=family == "qwen2", qk_norm=family == "qwen3", head=not tied)
    dtype = draw(st.sampled_from(["BF16", "F16", "F32", "F8_E4M3"]))
    tensors = in_dtype(tensors, dtype)
    more = {"quantization_config": {"quant_method": "compressed-tensors"}} if dtype == "F8_E4M3" else {}
    files = {"config.json": config(family, CLASSES[family], layers, tie_word_embeddings=tied, **more)}
    if shards == 1:
        files["model.safetensors"] = safetensors(tensors)
    else:
        count_from_0 = draw(st.booleans())
        name = from_one(shards) if not count_from_0 else lambda n: f"model-{n:05}-of-{shards:05}.safetensors"
        files |= sharded(tensors, shards, name, index=draw(st.booleans()))
    files |= draw(st.sampled_from([TOKENIZER, {"tokenizer.model": b"\x0a"}, {"vocab.json": b"{}", "merges.txt": b""}]))
    for extra in draw(st.sets(st.sampled_from(sorted(HARMLESS)), max_size=3)):
        files[extra] = HARMLESS[extra]
    return ARCHITECTURES[family], files


def in_dtype(tensors: Tensors, dtype: str) -> Tensors:
    """The same tensors in another dtype; of eight bits are the projections only, each with a scale of its own."""
    if not dtype.startswith("F8"):
        return {name: (dtype, shape) for name, (_, shape) in tensors.items()}
    projections = {name: (dtype, shape) for name, (_, shape) in tensors.items() if name.endswith("_proj.weight")}
    scales: Tensors = {f"{name}_scale": ("F32", (HIDDEN, 1)) for name in projections}
    return {**tensors, **projections, **scales}


def vision_and_text() -> Files:
    """Llama 3.2 Vision: its embedding has eight rows more than its vocabulary, and there are two stacks of layers."""
    tensors = {f"language_model.{name}": each for name, each in llama_tensors(2).items()}
    tensors["language_model.model.embed_tokens.weight"] = ("BF16", (VOCABULARY + 8, HIDDEN))
    tensors |= {f"vision_model.transformer.layers.{n}.input_layernorm.weight": ("BF16", (4,)) for n in range(9)}
    text = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": 2, "tie_word_embeddings": False}
    outer = {"model_type": "mllama", "text_config": text, "hidden_size": 4, "num_hidden_layers": 9}
    return {**sharded(tensors, 5, from_one(5)), "config.json": json.dumps(outer).encode(), **TOKENIZER}


def gptq() -> Files:
    """Packed weights of 32-bit integers, empty indexes of groups, and the quantization in a file of its own."""
    tensors: Tensors = {"model.embed_tokens.weight": ("F16", (VOCABULARY, HIDDEN))}
    for layer in range(2):
        tensors |= {
            f"model.layers.{layer}.mlp.up_proj.qweight": ("I32", (1, HIDDEN)),
            f"model.layers.{layer}.mlp.up_proj.scales": ("F16", (1, HIDDEN)),
            f"model.layers.{layer}.mlp.up_proj.g_idx": ("I32", (0,)),
        }
    return {
        "model.safetensors": safetensors(tensors),
        "config.json": config("llama", "LlamaForCausalLM", 2),
        "quantize_config.json": b"{}",
        **TOKENIZER,
    }


def saved_twice() -> Files:
    """A whole model over what is left of a sharded one, whose index is still there."""
    shards = sharded(llama_tensors(2), 4, from_one(4))
    del shards["model-00002-of-00004.safetensors"]
    whole = safetensors(llama_tensors(2))
    return {**shards, "model.safetensors": whole, "config.json": config("llama", "LlamaForCausalLM", 2), **TOKENIZER}


def nested_shards() -> Files:
    """An index may name shards in a folder."""
    files = sharded(llama_tensors(2), 3, lambda number: f"weights/part-{number}.safetensors")
    return {**files, "config.json": config("llama", "LlamaForCausalLM", 2), **TOKENIZER}


def edited_by_hand() -> Files:
    """A key twice and an infinite number, both of which Python's reader of JSON takes."""
    files = LAYOUTS["llama, tied"][1]()
    return {
        **files,
        "config.json": files["config.json"][:-1] + b', "dtype": "bfloat16", "dtype": "bfloat16", "x": Infinity}',
    }


def adapter() -> Files:
    return {"adapter_model.safetensors": safetensors({"lora_A.weight": ("F32", (4, 8))}), "adapter_config.json": b"{}"}


def of_another_time() -> Files:
    """A dtype and a model type that are not known here."""
    files = LAYOUTS["llama, tied"][1]()
    header = header_of(files["model.safetensors"])
    header["model.norm.weight"]["dtype"] = "F128"
    set_header(files, "model.safetensors", header)
    return {**files, "config.json": config("llama9", "Llama9ForCausalLM", 2)}


UNUSUAL = (vision_and_text, gptq, saved_twice, nested_shards, edited_by_hand, adapter, of_another_time)
