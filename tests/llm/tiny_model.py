"""tiny_model.py OUT.gguf -- a language model of two layers and random weights, for llama.cpp's server.

It has a vocabulary of bytes and speaks nonsense. One direction of its state is always on, and the words that end a
text or a string are tied to it; another is on behind a quote, and a letter is tied to that. So under a grammar every
string is "x", and an answer by a schema is short.
"""

import sys

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 16384

rng = np.random.default_rng(7)
tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % b for b in range(256)]
types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
# The bytes that can be printed are pieces too: without them SentencePiece's rules take every byte for unknown.
tokens += [chr(c).encode() for c in range(33, 127)] + ["\u2581".encode()]
types += [gguf.TokenType.NORMAL] * 95
count = len(tokens)


def noise(*shape, scale=0.05):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


w = gguf.GGUFWriter(sys.argv[1], "llama")
w.add_context_length(CONTEXT)
w.add_embedding_length(WIDTH)
w.add_block_count(LAYERS)
w.add_feed_forward_length(INNER)
w.add_head_count(HEADS)
w.add_head_count_kv(HEADS)
w.add_rope_dimension_count(WIDTH // HEADS)
w.add_layer_norm_rms_eps(1e-5)
w.add_vocab_size(count)
w.add_tokenizer_model("llama")
w.add_token_list(tokens)
w.add_token_scores([0.0] * count)
w.add_token_types(types)
w.add_bos_token_id(1)
w.add_eos_token_id(2)
w.add_unk_token_id(0)
w.add_chat_template(
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
)

embedding = noise(count, WIDTH)
embedding[:, 0] = 4
output = noise(count, WIDTH)
output[:, 0] = 0
for text in (b'"', b"}", b"</s>", b"<0x22>"):
    output[tokens.index(text), 0] = 2
for text in (b'"', b"<0x22>"):
    embedding[tokens.index(text), 1] = 4
output[:, 1] = 0
output[tokens.index(b"x"), 1] = 8
w.add_tensor("token_embd.weight", embedding)
w.add_tensor("output.weight", output)
w.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
for i in range(LAYERS):
    for name, shape in {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH, WIDTH),
        "attn_v": (WIDTH, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (INNER, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }.items():
        w.add_tensor(f"blk.{i}.{name}.weight", noise(*shape))
    w.add_tensor(f"blk.{i}.attn_norm.weight", np.ones(WIDTH, np.float32))
    w.add_tensor(f"blk.{i}.ffn_norm.weight", np.ones(WIDTH, np.float32))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
