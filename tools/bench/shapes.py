"""The models that are measured, and what a step of them must compute."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Shape:
    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int

    @property
    def kv_dim(self):
        return self.kv_heads * self.dim // self.heads

    def parameters(self):
        """The classifier is the embedding."""
        layer = 2 * self.dim * (self.dim + self.kv_dim) + 3 * self.dim * self.hidden + 2 * self.dim
        return self.vocab * self.dim + self.layers * layer + self.dim

    def step_flops(self, batch, seq):
        """Operations of a step: 6 a parameter and token, and attention's products of activations, whole squares."""
        return 6 * self.parameters() * batch * seq + 12 * self.layers * batch * seq**2 * self.dim

    def bytes_a_token(self, position):
        """What generating the token at a position must read, fp32: all weights, and the keys and values before it."""
        return 4 * (self.parameters() + 2 * self.layers * position * self.kv_dim)


# As in ferrane's `Preset`.
MODELS = {
    "stories260k": Shape(64, 172, 5, 8, 4, 512),
    "nano": Shape(128, 344, 4, 4, 2, 2048),
    "stories15m": Shape(288, 768, 6, 6, 6, 32000),
    "stories110m": Shape(768, 2048, 12, 12, 12, 32000),
}
SEQ = 256
