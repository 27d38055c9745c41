"""A random Llama as GGUF for llama.cpp, of a fixed seed: 10.6 million parameters, 8000 made-up words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .cached import built

SEED = 3
LAYERS, WIDTH, HEADS, INNER, CONTEXT = 6, 288, 6, 768, 2048
WORDS = 8000
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


def word(n: int) -> str:
    """The n-th made-up word of the vocabulary, n from 0."""
    letters = ""
    while n >= 0:
        letters += SYLLABLES[n % len(SYLLABLES)]
        n = n // len(SYLLABLES) - 1
    return letters


def file() -> Path:
    """The model, made if it is not there."""
    return built("language.gguf", __file__, _write)


def _write(path: Path) -> None:
    import gguf

    kinds = gguf.TokenType
    tokens = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    tokens += [("\u2581" + word(n), kinds.NORMAL) for n in range(WORDS - len(tokens))]  # U+2581: a space, in SPM

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(WORDS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([-float(n) for n in range(WORDS)])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    rng = np.random.default_rng(SEED)

    def drawn(name: str, *shape: int) -> None:
        # A numpy scalar of 64 bits would make F64 of it, which llama.cpp cannot read.
        scale = np.float32(shape[-1] ** -0.5)
        writer.add_tensor(f"{name}.weight", rng.standard_normal(shape, np.float32) * scale)

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    drawn("token_embd", WORDS, WIDTH)
    for n in range(LAYERS):
        ones(f"blk.{n}.attn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            drawn(f"blk.{n}.{part}", WIDTH, WIDTH)
        ones(f"blk.{n}.ffn_norm")
        drawn(f"blk.{n}.ffn_gate", INNER, WIDTH)
        drawn(f"blk.{n}.ffn_up", INNER, WIDTH)
        drawn(f"blk.{n}.ffn_down", WIDTH, INNER)
    ones("output_norm")
    drawn("output", WORDS, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
