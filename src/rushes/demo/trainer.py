"""One model of the demo pair while it learns: losses, optimiser, checkpoints."""

import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rushes._transformers import transformers
from rushes.demo.build import DRAFT, TARGET, make_config, make_model, make_processor, make_tokenizer
from rushes.demo.data import ATTRIBUTE_NAMES, IGNORE, Batch, BatchMaker, Recipe
from rushes.demo.forward import Model, text_states, use_training_attention, vision_features
from rushes.demo.hiding import hide
from rushes.demo.scenes import MAX_SCENES
from rushes.demo.wording import MOTION_PHRASES, NUMBERS

VISION_SHARE = 0.3  # of all steps: only the vision tower learns, with the dense heads
SHORT_SHARE = 0.45  # up to here clips have at most three scenes
FACT_WEIGHT = 4.0


SUMMARY_SIZES = [MAX_SCENES * (len(names) + 1) for names in ATTRIBUTE_NAMES.values()]


class Heads(nn.Module):
    """Throw-away linear heads for the dense supervision; they are not part of the saved model."""

    def __init__(self, hidden: int, summary: bool) -> None:
        super().__init__()
        self.cells = nn.ModuleDict({name: nn.Linear(hidden, len(names) + 1) for name, names in ATTRIBUTE_NAMES.items()})
        self.scene = nn.Linear(hidden, MAX_SCENES)
        self.summary = nn.Linear(hidden, sum(SUMMARY_SIZES)) if summary else None


class MasterAdamW:
    """AdamW on fp32 copies of bf16 parameters: bf16 arithmetic without bf16's rounding of small updates."""

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        self.parameters = parameters
        self.masters = [p.detach().float().clone().requires_grad_() for p in parameters]
        decayed = [m for m in self.masters if m.dim() > 1]
        plain = [m for m in self.masters if m.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)

    def step(self, lr: float) -> None:
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        nn.utils.clip_grad_norm_([m for m in self.masters if m.grad is not None], 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        with torch.no_grad():
            for parameter, master in zip(self.parameters, self.masters, strict=True):
                parameter.copy_(master)


class Trainer:
    """One model's training, with everything that a checkpoint must hold."""

    def __init__(self, role: str, folder: Path, steps: int, lr: float, seed: int, teacher: Path | None) -> None:
        self.role, self.folder, self.steps, self.lr = role, folder, steps, lr
        self.tokenizer = make_tokenizer()
        size = TARGET if role == "target" else DRAFT
        self.model: Any = make_model(make_config(size, self.tokenizer), self.tokenizer, seed)
        self.model.to(torch.bfloat16)
        self.heads = Heads(size.hidden, summary=role == "target").to(torch.bfloat16)
        self.middle = size.layers // 2 - 1
        self.teacher: Model | None = None
        if teacher is not None:
            loaded = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(teacher, dtype=torch.bfloat16)
            self.teacher = loaded.eval()
            use_training_attention(loaded)
        use_training_attention(self.model)
        self.optimizer = MasterAdamW([*self.model.parameters(), *self.heads.parameters()], lr)
        self.batches = BatchMaker(self.tokenizer, seed)
        self.drawing = ThreadPoolExecutor(1)
        self.ahead: dict[tuple[int, Recipe], Future[Batch]] = {}
        self.weights = self._word_weights()
        self.done = 0

    def _word_weights(self) -> Tensor:
        weights = torch.ones(self.model.config.text_config.vocab_size)
        words = [name for names in ATTRIBUTE_NAMES.values() for name in names]
        words += [w for phrases in MOTION_PHRASES.values() for p in phrases for w in p.split()]
        for word in (set(words) | set(NUMBERS)) - {"to", "the", "on", "and"}:
            weights[self.tokenizer(" " + word)["input_ids"][0]] = FACT_WEIGHT
        for letter in "ABCD":
            weights[self.tokenizer(letter)["input_ids"][0]] = FACT_WEIGHT
        return weights

    def recipe(self) -> Recipe:
        scenes = 3 if self.done < SHORT_SHARE * self.steps and self.teacher is None else MAX_SCENES
        return Recipe(max_scenes=scenes)

    def rate(self) -> float:
        """Warm up over 200 steps, then a cosine down to a fiftieth."""
        through = self.done / self.steps
        return self.lr * min(1.0, (self.done + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through)))

    def _batch(self) -> Batch:
        """The batch of this step; the next one is drawn meanwhile."""
        recipe, number = self.recipe(), self.done
        drawn = self.ahead.pop((number, recipe), None) or self.drawing.submit(self.batches, number, recipe)
        self.ahead = {(number + 1, recipe): self.drawing.submit(self.batches, number + 1, recipe)}
        return drawn.result()

    def step(self) -> dict[str, float]:
        full = batch = self._batch()
        if self.role == "draft":
            batch = hide(full, np.random.default_rng((self.batches.seed, self.done, 1)), self.batches.pad)
        features = vision_features(self.model, batch.patches.to(torch.bfloat16), batch.grid)
        cell_loss, report = self._cell_loss(features, batch)
        loss = cell_loss
        if self.teacher is not None or self.done >= VISION_SHARE * self.steps:
            text_loss, more = self._text_loss(features, batch, full)
            loss = text_loss + 0.3 * cell_loss
            report |= more
        loss.backward()
        self.optimizer.step(self.rate())
        self.done += 1
        return report

    def _cell_loss(self, features: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        total, report = features.new_zeros(()), {}
        for name, head in self.heads.cells.items():
            truth = batch.cells[name].flatten()
            logits = head(features).float()
            total = total + F.cross_entropy(logits, truth, ignore_index=IGNORE)
            shown = (truth != IGNORE) & (truth < len(ATTRIBUTE_NAMES[name]))
            report[name] = (logits.argmax(-1) == truth)[shown].float().mean().item()
        return total, report

    def _text_loss(self, features: Tensor, batch: Batch, full: Batch) -> tuple[Tensor, dict[str, float]]:
        states, between = text_states(self.model, batch, features)
        halfway = between[self.middle]
        told = batch.scene_of != IGNORE
        scene_logits = self.heads.scene(halfway[told]).float()
        scene_truth = batch.scene_of[told]
        scene_loss = F.cross_entropy(scene_logits, scene_truth)
        answer = batch.labels[:, 1:] != IGNORE
        logits = self.model.lm_head(states[:, :-1][answer]).float()
        words = batch.labels[:, 1:][answer]
        weights = self.weights[words]
        loss = (F.cross_entropy(logits, words, reduction="none") * weights).sum() / weights.sum()
        if self.teacher is not None:
            loss = 0.2 * loss + self._distance_to_teacher(full, logits)
        facts = weights > 1
        report = {
            "loss": loss.item(),
            "facts": (logits.argmax(-1) == words)[facts].float().mean().item(),
            "scene": (scene_logits.argmax(-1) == scene_truth).float().mean().item(),
        }
        loss = loss + 0.3 * scene_loss
        if self.heads.summary is not None:
            summary_loss, report["summary"] = self._summary_loss(between[-2], batch)
            loss = loss + 0.3 * summary_loss
        return loss, report

    def _summary_loss(self, states: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """What every scene shows, told from each word of the first question."""
        assert self.heads.summary is not None
        rows = batch.asking.nonzero()[:, 0]
        logits = self.heads.summary(states[batch.asking]).float()
        total, right = logits.new_zeros(()), []
        for name, part in zip(ATTRIBUTE_NAMES, logits.split(SUMMARY_SIZES, dim=1), strict=True):
            told = part.reshape(len(rows) * MAX_SCENES, -1)
            truth = batch.summary[name][rows].flatten()
            total = total + F.cross_entropy(told, truth)
            exists = truth < len(ATTRIBUTE_NAMES[name])
            right.append((told.argmax(-1) == truth)[exists].float().mean().item())
        return total, sum(right) / len(right)

    def _distance_to_teacher(self, full: Batch, logits: Tensor) -> Tensor:
        """KL to the target's distribution, which has seen every video token, plus the cross-entropy with its choice."""
        assert self.teacher is not None
        with torch.no_grad():
            full_answer = full.labels[:, 1:] != IGNORE
            features = vision_features(self.teacher, full.patches.to(torch.bfloat16), full.grid)
            states, _ = text_states(self.teacher, full, features)
            wanted = self.teacher.lm_head(states[:, :-1][full_answer]).float()
        kl = F.kl_div(logits.log_softmax(-1), wanted.log_softmax(-1), log_target=True, reduction="batchmean")
        return kl + 0.5 * F.cross_entropy(logits, wanted.argmax(-1))

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "done": self.done,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "masters": self.optimizer.masters,
            "optimizer": self.optimizer.optimizer.state_dict(),
        }
        torch.save(state, self.folder / "checkpoint.new")
        os.replace(self.folder / "checkpoint.new", self.folder / "checkpoint.pt")

    def resume(self, path: Path, weights_only: bool = False) -> None:
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        with torch.no_grad():
            for master, saved in zip(self.optimizer.masters, state["masters"], strict=True):
                master.copy_(saved)
        if not weights_only:
            self.optimizer.optimizer.load_state_dict(state["optimizer"])
            self.done = state["done"]

    def export(self) -> None:
        """Write the model and its processor as a Hugging Face checkpoint in bf16."""
        self.model.model.language_model.config._attn_implementation = "sdpa"
        self.model.save_pretrained(self.folder / "export")
        make_processor(self.tokenizer).save_pretrained(self.folder / "export")
