"""VideoCrafter2's three networks as released: their names and arithmetic, in plain torch, small.

Written from the published architecture, not from the program under test: it shares no class with diffusers. A
random checkpoint of these has the real file's names.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

HEAD = 64
CHANNELS, MULTIPLES, BLOCKS, ATTEND, TEXT_WIDTH = 64, (1, 2), 1, (True, False), 48


def norm(channels, eps=1e-5):
    return nn.GroupNorm(32, channels, eps=eps)


def sinusoid(t, width):
    angles = t.float()[:, None] * torch.exp(-math.log(10000) * torch.arange(width // 2) / (width // 2))
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class Attention(nn.Module):
    def __init__(self, width, heads, context=None):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, heads * HEAD, bias=False)
        self.to_k = nn.Linear(context or width, heads * HEAD, bias=False)
        self.to_v = nn.Linear(context or width, heads * HEAD, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * HEAD, width), nn.Dropout(0.0))

    def forward(self, x, context=None):
        context = x if context is None else context
        q, k, v = (
            y.reshape(y.shape[0], y.shape[1], self.heads, HEAD).transpose(1, 2)
            for y in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(HEAD)).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class Feed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(Gated(width), nn.Dropout(0.0), nn.Linear(4 * width, width))


class Block(nn.Module):
    def __init__(self, width, heads, context):
        super().__init__()
        self.attn1, self.ff = Attention(width, heads), Feed(width)
        self.attn2 = Attention(width, heads, context)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x, context):
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), context) + x
        return self.ff.net(self.norm3(x)) + x


class Transformer(nn.Module):
    """Over the places of a frame (`time=False`) or over the frames of a place."""

    def __init__(self, width, heads, context, time, convolve=False):
        super().__init__()
        inner = heads * HEAD
        self.time, self.convolve = time, convolve
        self.norm = norm(width, 1e-6)
        self.proj_in = nn.Conv1d(width, inner, 1) if convolve else nn.Linear(width, inner)
        self.transformer_blocks = nn.ModuleList([Block(inner, heads, context)])
        self.proj_out = nn.Conv1d(inner, width, 1) if convolve else nn.Linear(inner, width)

    def linear(self, layer, x):
        return layer(x.transpose(1, 2)).transpose(1, 2) if self.convolve else layer(x)

    def forward(self, x, context, frames):
        bf, c, h, w = x.shape
        b = bf // frames
        if self.time:
            y = self.norm(x.reshape(b, frames, c, h, w).transpose(1, 2))  # b c f h w
            y = y.permute(0, 3, 4, 2, 1).reshape(b * h * w, frames, c)
        else:
            y = self.norm(x).flatten(2).transpose(1, 2)
        y = self.linear(self.proj_in, y)
        y = self.transformer_blocks[0](y, None if self.time else context)
        y = self.linear(self.proj_out, y)
        if self.time:
            y = y.reshape(b, h, w, frames, c).permute(0, 3, 4, 1, 2).reshape(bf, c, h, w)
        else:
            y = y.transpose(1, 2).reshape(bf, c, h, w)
        return x + y


class OverTime(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Sequential(
            norm(width), nn.SiLU(), nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))
        )
        for number in (2, 3, 4):
            layers = (
                norm(width),
                nn.SiLU(),
                nn.Dropout(0.1),
                nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0)),
            )
            setattr(self, f"conv{number}", nn.Sequential(*layers))

    def forward(self, x):
        return x + self.conv4(self.conv3(self.conv2(self.conv1(x))))


class Residual(nn.Module):
    def __init__(self, before, after, time_width):
        super().__init__()
        self.in_layers = nn.Sequential(norm(before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, after))
        self.out_layers = nn.Sequential(
            norm(after), nn.SiLU(), nn.Dropout(0.0), nn.Conv2d(after, after, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.temopral_conv = OverTime(after)

    def forward(self, x, emb, frames):
        h = self.in_layers(x) + self.emb_layers(emb)[..., None, None]
        h = self.skip_connection(x) + self.out_layers(h)
        videos = h.reshape(-1, frames, *h.shape[1:]).transpose(1, 2)
        return self.temopral_conv(videos).transpose(1, 2).reshape(h.shape)


class Down(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)


class Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)


class ReleasedUNet(nn.Module):
    def __init__(self):
        super().__init__()
        wide = 4 * CHANNELS
        for name in ("time_embed", "fps_embedding"):
            setattr(self, name, nn.Sequential(nn.Linear(CHANNELS, wide), nn.SiLU(), nn.Linear(wide, wide)))
        self.init_attn = nn.ModuleList([Transformer(CHANNELS, 8, None, time=True, convolve=True)])
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(4, CHANNELS, 3, padding=1)])])
        now, stack = CHANNELS, [CHANNELS]

        def block(before, after, attends):
            parts = [Residual(before, after, wide)]
            if attends:
                parts += [
                    Transformer(after, after // HEAD, TEXT_WIDTH, time=False),
                    Transformer(after, after // HEAD, None, time=True),
                ]
            return nn.ModuleList(parts)

        last = len(MULTIPLES) - 1
        for level, (multiple, attends) in enumerate(zip(MULTIPLES, ATTEND, strict=True)):
            for _ in range(BLOCKS):
                self.input_blocks.append(block(now, multiple * CHANNELS, attends))
                now = multiple * CHANNELS
                stack.append(now)
            if level != last:
                self.input_blocks.append(nn.ModuleList([Down(now)]))
                stack.append(now)
        self.middle_block = nn.ModuleList([*block(now, now, True), Residual(now, now, wide)])
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(MULTIPLES))):
            for number in range(BLOCKS + 1):
                after = MULTIPLES[level] * CHANNELS
                parts = block(now + stack.pop(), after, ATTEND[level])
                now = after
                if level and number == BLOCKS:
                    parts.append(Up(now))
                self.output_blocks.append(parts)
        self.out = nn.Sequential(norm(now), nn.SiLU(), nn.Conv2d(now, 4, 3, padding=1))

    def forward(self, x, t, context, fps):
        b, c, frames, h, w = x.shape
        emb = self.time_embed(sinusoid(t.expand(b), CHANNELS))
        emb = emb + self.fps_embedding(sinusoid(torch.full((b,), fps), CHANNELS))
        emb, context = emb.repeat_interleave(frames, 0), context.repeat_interleave(frames, 0)
        x = x.transpose(1, 2).reshape(b * frames, c, h, w)

        def through(parts, x):
            for part in parts:
                if isinstance(part, Residual):
                    x = part(x, emb, frames)
                elif isinstance(part, Transformer):
                    x = part(x, context, frames)
                elif isinstance(part, Down):
                    x = part.op(x)
                elif isinstance(part, Up):
                    x = part.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
                else:
                    x = part(x)
            return x

        x = through(self.init_attn, through(self.input_blocks[0], x))
        skips = [x]
        for parts in self.input_blocks[1:]:
            x = through(parts, x)
            skips.append(x)
        x = through(self.middle_block, x)
        for parts in self.output_blocks:
            x = through(parts, torch.cat([x, skips.pop()], dim=1))
        return self.out(x).reshape(b, frames, 4, h, w).transpose(1, 2)


class TextLayer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, max(width // HEAD, 1), batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 2 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(2 * width, width))

    def forward(self, x, mask):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class ReleasedText(nn.Module):
    """OpenCLIP's text tower, read before its last layer (`layer: penultimate`)."""

    def __init__(self, vocabulary, layers=3, width=TEXT_WIDTH):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(77, width))
        self.text_projection = nn.Parameter(torch.empty(width, width))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList([TextLayer(width) for _ in range(layers)])
        self.ln_final = nn.LayerNorm(width)

    def forward(self, tokens):
        mask = torch.full((77, 77), -math.inf).triu(1)
        x = self.token_embedding(tokens) + self.positional_embedding
        for layer in self.transformer.resblocks[:-1]:
            x = layer(x, mask)
        return self.ln_final(x)


def vae_shapes(width=32, multiples=(1, 2), blocks=1):
    """Names and shapes of the LDM autoencoder's weights."""
    shapes = {}

    def conv(name, before, after, size=3):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (after, before, size, size), (after,)

    def group(name, channels):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)

    def residual(name, before, after):
        group(f"{name}.norm1", before)
        conv(f"{name}.conv1", before, after)
        group(f"{name}.norm2", after)
        conv(f"{name}.conv2", after, after)
        if before != after:
            conv(f"{name}.nin_shortcut", before, after, 1)

    def middle(name, channels):
        residual(f"{name}.block_1", channels, channels)
        group(f"{name}.attn_1.norm", channels)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.attn_1.{part}", channels, channels, 1)
        residual(f"{name}.block_2", channels, channels)

    top = width * multiples[-1]
    conv("encoder.conv_in", 3, width)
    now = width
    for level, multiple in enumerate(multiples):
        for block in range(blocks):
            residual(f"encoder.down.{level}.block.{block}", now, width * multiple)
            now = width * multiple
        if level < len(multiples) - 1:
            conv(f"encoder.down.{level}.downsample.conv", now, now)
    middle("encoder.mid", top)
    group("encoder.norm_out", top)
    conv("encoder.conv_out", top, 8)
    conv("decoder.conv_in", 4, top)
    middle("decoder.mid", top)
    for level in reversed(range(len(multiples))):
        for block in range(blocks + 1):
            residual(f"decoder.up.{level}.block.{block}", now, width * multiples[level])
            now = width * multiples[level]
        if level:
            conv(f"decoder.up.{level}.upsample.conv", now, now)
    group("decoder.norm_out", width)
    conv("decoder.conv_out", width, 3)
    conv("quant_conv", 8, 8, 1)
    conv("post_quant_conv", 4, 4, 1)
    return shapes


def randomise(module, seed):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for _, weight in sorted(module.named_parameters()):
            scale = (weight.numel() / len(weight)) ** -0.5 if weight.ndim > 1 else 0.3
            weight.normal_(std=scale)
    return module.eval()


def checkpoint(vocabulary):
    """(state dict as in `model.ckpt`, the released UNet, the released text tower)."""
    unet, text = randomise(ReleasedUNet(), 1), randomise(ReleasedText(vocabulary), 2)
    generator = torch.Generator().manual_seed(3)
    vae = {}
    for name, shape in vae_shapes().items():
        scale = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.3
        vae[name] = torch.randn(shape, generator=generator) * scale
    state = {f"model.diffusion_model.{name}": value for name, value in unet.state_dict().items()}
    state |= {f"first_stage_model.{name}": value for name, value in vae.items()}
    state |= {f"cond_stage_model.model.{name}": value for name, value in text.state_dict().items()}
    state |= {"betas": torch.zeros(1000), "scale_arr": torch.ones(1400)}
    return state, unet, text
