"""Steps of a Llama in JAX, a step one compiled function that updates its arguments in place. usage: jax_llama.py REQUEST"""
import jax
import jax.numpy as jnp

from llama import Request

r = Request.from_arguments()
COS, SIN = map(jnp.array, r.rotation())
MASK = jnp.tril(jnp.ones((r.seq, r.seq), bool))
LR, BETA1, BETA2, EPS, DECAY, CLIP = 3e-4, 0.9, 0.95, 1e-8, 0.1, 1.0


def normed(x, gamma):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5) * gamma


def rotated(x):
    low, high = jnp.split(x, 2, axis=-1)
    return jnp.concatenate((low * COS - high * SIN, high * COS + low * SIN), axis=-1)


def attention(w, x):
    heads = lambda name, count: (x @ w(name).T).reshape(r.batch, r.seq, count, r.head_dim).transpose(0, 2, 1, 3)
    q, k, v = rotated(heads("query", r.heads)), rotated(heads("key", r.kv_heads)), heads("value", r.kv_heads)
    k, v = (jnp.repeat(x, r.heads // r.kv_heads, axis=1) for x in (k, v))
    scores = q @ k.transpose(0, 1, 3, 2) / r.head_dim**0.5
    mixed = jax.nn.softmax(jnp.where(MASK, scores, -jnp.inf)) @ v
    return mixed.transpose(0, 2, 1, 3).reshape(r.batch, r.seq, r.dim) @ w("output").T


def loss_of(parameters, inputs, targets):
    x = parameters["embedding"][inputs]
    for layer in range(r.layers):
        w = lambda name: parameters[f"{layer}.{name}"]
        x = x + attention(w, normed(x, w("attention_norm")))
        n = normed(x, w("ffn_norm"))
        x = x + (jax.nn.silu(n @ w("gate").T) * (n @ w("up").T)) @ w("down").T
    logits = normed(x, parameters["norm"]) @ parameters["embedding"].T
    of_targets = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - of_targets)


def updated(parameters, first, second, inputs, targets, count):
    loss, gradients = jax.value_and_grad(loss_of)(parameters, inputs, targets)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
    scale = jnp.minimum(1.0, CLIP / (norm + 1e-6))

    def adamw(p, m, v, g):
        m, v = BETA1 * m + (1 - BETA1) * scale * g, BETA2 * v + (1 - BETA2) * (scale * g) ** 2
        direction = m / (1 - BETA1**count) / (jnp.sqrt(v / (1 - BETA2**count)) + EPS)
        return p - LR * (direction + DECAY * p), m, v

    after = {name: adamw(parameters[name], first[name], second[name], g) for name, g in gradients.items()}
    return loss, *({name: values[part] for name, values in after.items()} for part in range(3))


def zeros():
    return {name: jnp.zeros_like(value) for name, value in state[0].items()}


state = [{name: jnp.array(value) for name, value in r.parameters()}]
state += [zeros(), zeros()]
compiled = jax.jit(updated, donate_argnums=(0, 1, 2))


def step(i):
    loss, *state[:] = compiled(*state, *r.tokens(i), jnp.float32(i + 1))
    jax.block_until_ready(state)
    return loss


r.run(step)
