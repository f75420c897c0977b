"""Files of llama2.c with no meaning in them: weights, which take as long to multiply, and a vocabulary of as many tokens."""
import array, itertools, random, string, struct

BLOCK = 1_000_003  # random numbers, repeated: prime, so that no two rows of a matrix are the same


def write_weights(path, shape, positions):
    matrices = shape.parameters() - (2 * shape.layers + 1) * shape.dim
    layer_matrices = (matrices - shape.vocab * shape.dim)
    chosen = random.Random(1)
    block = array.array("f", (chosen.uniform(-0.05, 0.05) for _ in range(BLOCK)))
    norms = array.array("f", [1.0]) * (shape.layers * shape.dim)
    query_to_output = shape.layers * 2 * shape.dim * (shape.dim + shape.kv_dim)
    with path.open("wb") as file:
        file.write(struct.pack("<7i", shape.dim, shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.vocab,
                               positions))
        # Embedding, attention norms, query to output, FFN norms, the FFN's matrices, the last norm, RoPE's unused angles.
        write_block(file, block, shape.vocab * shape.dim)
        norms.tofile(file)
        write_block(file, block, query_to_output)
        norms.tofile(file)
        write_block(file, block, layer_matrices - query_to_output)
        norms[:shape.dim].tofile(file)
        array.array("f", [0.0] * (positions * shape.dim // shape.heads)).tofile(file)


def write_block(file, block, count):
    while count > 0:
        block[:count].tofile(file)
        count -= len(block)


def write_vocabulary(path, size):
    """`tokenizer.bin`: special tokens, bytes, then letters, pairs and so on, each made of shorter ones."""
    letters = " " + string.ascii_lowercase
    words = (c.encode() for length in itertools.count(1) for c in map("".join, itertools.product(letters, repeat=length)))
    special = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    pieces = itertools.islice(itertools.chain(special, words), size)
    with path.open("wb") as file:
        file.write(struct.pack("<i", max(map(len, special))))
        for score, piece in enumerate(pieces):
            file.write(struct.pack("<fi", -float(score), len(piece)) + piece)
