#!/usr/bin/env python3
"""Hold Ferrane's reading of llama2.c's tokenizer.bin to llama2.c's own encoder.

usage: llama2c_tokenizer.py FERRANE TOKENIZER.bin

Encodes texts, many of them unusual, with `FERRANE data prepare` and with `encode` of run.c written out here, and compares
the tokens of each document. Needs Python alone; not part of CI. Exits with 1 if a document differs.
"""
import json, pathlib, random, struct, subprocess, sys, tempfile

ferrane, path = sys.argv[1:]
data = pathlib.Path(path).read_bytes()
pieces, at = [], 4
while at < len(data):
    score, length = struct.unpack_from("<fi", data, at)
    pieces.append((data[at + 8:at + 8 + length], score))
    at += 8 + length
ids = {piece: i for i, (piece, _) in enumerate(pieces)}


def encode(text):
    tokens = [ids[b" "]] if text else []
    for c in text:
        one = c.encode()
        tokens += [ids[one]] if one in ids else [b + 3 for b in one]
    while True:
        best = None
        for i in range(len(tokens) - 1):
            joined = ids.get(pieces[tokens[i]][0] + pieces[tokens[i + 1]][0])
            if joined is not None and (best is None or pieces[joined][1] > best[0]):
                best = (pieces[joined][1], i, joined)
        if best is None:
            return tokens
        tokens[best[1]:best[1] + 2] = [best[2]]


random.seed(1)
texts = [
    "Once upon a time, there was a little girl named Lily.", "a", "x  y   z", "==== ---- ....", "naïve café — Grüße, 世界! 🦊",
    "def f(x):\n    return x ** 2\n\n\tpass", "1234567890 3.14159e-10", "ЯЖЩ привет мир", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "\u200b\u00a0 z",
]
alphabet = "aabcdeeeth in  ''..--==\n\t1290é世🦊_"
texts += ["".join(random.choice(alphabet) for _ in range(random.randrange(1, 60))) for _ in range(300)]
texts = [text.strip() for text in texts if text.strip()]

with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    (work / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    subprocess.run([ferrane, "data", "prepare", work / "t.jsonl", "--tokenizer", path, "--out", work / "out",
                    "--validation", "0"], check=True, stdout=subprocess.DEVNULL)
    raw = (work / "out" / "train-00000.bin").read_bytes()
stream = struct.unpack(f"<{len(raw) // 2}H", raw)
documents, current = [], None
for token in stream:
    if token == 1:
        current = []
    elif token == 2:
        documents.append(current)
    else:
        current.append(token)
wrong = [(t, d, encode(t)) for t, d in zip(texts, documents) if d != encode(t)]
for text, ours, theirs in wrong[:5]:
    print(f"{text!r}\n  ferrane {ours}\n  run.c   {theirs}")
print(f"{len(texts) - len(wrong)} of {len(texts)} documents as llama2.c encodes them")
sys.exit(1 if wrong or len(documents) != len(texts) else 0)
