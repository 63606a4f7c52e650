"""The pairs, the model and the training of `scripts.pocket.train_clip`."""

import argparse
import logging
import math
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg, get_tokenizer
from PIL import Image
from safetensors.torch import save_file

from datasets.pocket.colors import pick
from datasets.pocket.concepts import FAMILIES, caption, render
from toolkit.common.files import atomic_write
from toolkit.common.structured import write_json

log = logging.getLogger("train_pocket_clip")

SIZE, CONTEXT = 48, 32
VISION = dict(image_size=SIZE, patch_size=12, width=128, layers=4, head_width=32)
TEXT = {"context_length": CONTEXT, "width": 128, "heads": 4, "layers": 3}
EMBED = 128
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
CAPTIONS = 4  # captions written for each picture
# families shown more often
WEIGHT = {"digit": 2, "word": 2, "scene": 2, "object": 2, "flag": 1.5, "tile": 1.5}
OPENERS = (
    "look at this",
    "in this picture we can see",
    "here is",
    "as you can see this shows",
    "found on the web",
    "one more of our collection of many pictures",
    "i took this one yesterday when we went out",
)
MODES = ("fill", "fill", "fill", "fill", "outline", "silhouette")
Attributes = tuple[str, ...]
Caption = tuple[str, Attributes]  # with the attributes that it claims


def make_pairs(
    seed: int, count: int
) -> tuple[np.ndarray, list[list[Caption]], list[Attributes]]:
    """Return `count` images (count, SIZE, SIZE, 3) uint8, captions and attributes."""
    rng = np.random.default_rng(seed)
    names = list(FAMILIES)
    sizes = [len(FAMILIES[name].concepts) for name in names]
    share = np.array([WEIGHT.get(name, 1.0) for name in names]) * np.sqrt(sizes)
    share = share / share.sum()
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    captions: list[list[Caption]] = []
    truths = []
    for k in range(count):
        drawn = rng.choice(len(names), p=share)
        family = names[int(drawn)]
        concept = pick(rng, FAMILIES[family].concepts)
        mode = str(rng.choice(MODES))
        image, attributes = render(family, concept, rng, mode)
        resized = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        images[k] = np.asarray(resized)
        captions.append([])
        for _ in range(CAPTIONS):
            text, claimed = caption(family, concept, attributes, rng)
            if rng.random() < 0.2:
                text = f"{pick(rng, OPENERS)} {text}"
            captions[k].append((text, tuple(claimed)))
        truths.append(tuple(attributes))
    return images, captions, truths


class Pairs:
    """The corpus in memory: pictures, token rows, and attributes as multi-hot rows."""

    def __init__(self, count: int, workers: int, seed: int = 0) -> None:
        chunks = [count // (workers * 8)] * (workers * 8)
        with ProcessPoolExecutor(workers) as pool:
            seeds = range(seed, seed + len(chunks))
            parts = list(pool.map(make_pairs, seeds, chunks))
        images = [part[0] for part in parts]
        self.images = torch.from_numpy(np.concatenate(images))
        captions = [row for part in parts for row in part[1]]
        truths = [row for part in parts for row in part[2]]
        known = sorted({attribute for row in truths for attribute in row})
        index = {attribute: k for k, attribute in enumerate(known)}

        def hot(rows: list[Attributes]) -> torch.Tensor:
            out = torch.zeros(len(rows), len(index))
            for k, row in enumerate(rows):
                out[k, [index[name] for name in row if name in index]] = 1
            return out

        texts = sorted({text for row in captions for text, _ in row})
        tokens = get_tokenizer("ViT-B-32", context_length=CONTEXT)(texts)
        # a compact vocabulary in ascending order, so that the end token stays the
        # largest id
        template = get_tokenizer("ViT-B-32")(["X a photo of ."])
        used = [tokens.flatten(), template.flatten()]
        self.token_ids = torch.unique(torch.cat(used))
        rows = {text: k for k, text in enumerate(texts)}
        self.tokens = torch.searchsorted(self.token_ids, tokens)
        text_of = [[rows[text] for text, _ in row] for row in captions]
        self.text_of = torch.tensor(text_of)
        self.attributes = hot(truths)
        claims = hot([claimed for row in captions for _, claimed in row])
        self.claims = claims.view(len(captions), CAPTIONS, -1)
        counts = len(captions), len(texts), len(self.token_ids), len(index)
        kinds = "%d pictures, %d different captions, %d tokens, %d attributes"
        log.info(kinds, *counts)

    def batch(
        self, pick: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return images (B, 3, S, S) slightly varied, tokens (B, length), and a matrix
        (B, B) that is true if a text is true of an image.
        """
        x = self.images[pick].permute(0, 3, 1, 2).float() / 255
        dx, dy = torch.randint(-3, 4, (2,), generator=generator).tolist()
        x = F.pad(x, (3, 3, 3, 3), mode="replicate")
        x = x[:, :, 3 + dy : 3 + dy + SIZE, 3 + dx : 3 + dx + SIZE]
        gain = 1 + 0.25 * (torch.rand(len(pick), 1, 1, 1, generator=generator) - 0.5)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        x = ((x * gain).clamp(0, 1) - mean) / std
        which = torch.randint(CAPTIONS, (len(pick),), generator=generator)
        tokens = self.tokens[self.text_of[pick, which]]
        length = int((tokens > 0).sum(1).max())
        claims = self.claims[pick, which]
        true = self.attributes[pick] @ claims.T >= claims.sum(1) - 0.5
        return x, tokens[:, :length], true


def text_features(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """Return open_clip's `encode_text` of short rows: (B, length) -> (B, EMBED)."""
    n = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:n]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:n, :n]))
    return x[torch.arange(len(tokens)), tokens.argmax(1)] @ model.text_projection


def match_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Return the symmetric cross-entropy of (B, B) against all true matches (B, B)."""
    target = true.float()
    rows = F.cross_entropy(logits, target / target.sum(1, keepdim=True))
    columns = F.cross_entropy(logits.T, (target / target.sum(0, keepdim=True)).T)
    return (rows + columns) / 2


def save(model: CLIP, pairs: Pairs, folder: Path) -> None:
    """Write model.json and model.safetensors: half precision, known tokens' rows."""
    state = {}
    for key, value in model.state_dict().items():
        if key != "attn_mask":
            state[key] = value.half().contiguous()
    state["token_embedding.rows"] = state.pop("token_embedding.weight")
    state["token_ids"] = pairs.token_ids.clone()
    with atomic_write(folder / "model.safetensors") as file:
        save_file(state, file)
    text = {**TEXT, "vocab_size": 49408}
    config = {
        "model_cfg": {"embed_dim": EMBED, "vision_cfg": VISION, "text_cfg": text},
        "preprocess_cfg": dict(size=SIZE, mean=MEAN, std=STD, interpolation="bicubic"),
    }
    write_json(folder / "model.json", config)


def train(args: argparse.Namespace) -> None:
    """Render, train for the given minutes in one cycle, save every few minutes."""
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    start = time.time()
    pairs = Pairs(args.pictures, args.workers)
    log.info("rendered in %.0f s", time.time() - start)
    text = CLIPTextCfg(**TEXT, vocab_size=len(pairs.token_ids))
    model = CLIP(EMBED, CLIPVisionCfg(**VISION), text).to(args.device)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": 0.05},
        {"params": rest, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
    start = time.time()
    step = saved = 0
    mean_loss = hits = 0.0
    while (done := (time.time() - start) / (60 * args.minutes)) < 1:
        falling = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1, (step + 1) / 300) * falling
        pick = torch.randint(len(pairs.images), (args.batch,), generator=generator)
        x, tokens, true = (t.to(args.device) for t in pairs.batch(pick, generator))
        image = F.normalize(model.visual(x), dim=-1)
        text = F.normalize(text_features(model, tokens), dim=-1)
        logits = model.logit_scale.exp() * image @ text.T
        loss = match_loss(logits, true)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
            hit = true[torch.arange(len(true)), logits.argmax(1)].float().mean()
        step += 1
        mean_loss, hits = mean_loss + loss.item(), hits + hit.item()
        if step % 200 == 0:
            rate = step * args.batch / (time.time() - start)
            scale = model.logit_scale.exp().item()
            shown = step, mean_loss / 200, hits / 200, scale, rate, 100 * done
            form = "step %d loss %.3f top-1 %.3f scale %.1f, %.0f pairs/s, %.0f %% of the time"
            log.info(form, *shown)
            mean_loss = hits = 0.0
        if done * 12 > saved + 1:
            saved += 1
            save(model, pairs, args.output)
    save(model, pairs, args.output)
    log.info("done: %d steps, %s", step, args.output)
