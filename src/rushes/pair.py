"""A target and its draft in memory, ready to answer."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rushes.answering import events_of
from rushes.checking import next_logits
from rushes.decoding import Progress, decode
from rushes.errors import OutOfMemory, RushesError
from rushes.methods import Method, method
from rushes.models.base import Inputs, VideoLM
from rushes.models.registry import adapt
from rushes.options import Options
from rushes.prompting import DEFAULT_PROMPT, build_inputs, check_prompt, pixel_notes, sampling_for
from rushes.recall import Recall
from rushes.result import Check, Event, Result
from rushes.scheduling.worker import Worker
from rushes.settings import Settings
from rushes.stats import Stats
from rushes.verification.guards import Guards
from rushes.video import Video, read_video
from rushes.vocabulary import refuse_different_vision


class Pair:
    """Two models in memory that decode together.

    Args:
        target: A transformers video LLM of a supported family.
        draft: A smaller one with the same tokens, or None for plain decoding only.
        processor: The target's; needed for videos and text, not for `generate_inputs`.
        vocabulary: Rows of the vocabulary that stand for a token. By default what the processor's tokenizer holds, or
            the smaller of the two models' without a processor.
        share_features: Do both vision towers hold the same weights, so that one pass serves both? None compares them.

    Raises:
        RushesError: A family is not supported or cannot roll back, or the draft reads videos differently.
    """

    def __init__(
        self,
        target: Any,
        draft: Any = None,
        processor: Any = None,
        *,
        vocabulary: int | None = None,
        share_features: bool | None = None,
    ) -> None:
        if vocabulary is None:
            models = [m for m in (target, draft) if m is not None]
            vocabulary = min(m.config.get_text_config().vocab_size for m in models)
            if processor is not None:
                vocabulary = min(vocabulary, max(processor.tokenizer.get_vocab().values()) + 1)
        self.processor = processor
        self.target = adapt(target, "target", vocabulary)
        self.draft = None if draft is None else self.target if draft is target else adapt(draft, "draft", vocabulary)
        if draft is not None:
            refuse_different_vision(target.config, draft.config)
        if share_features is None:
            share_features = self.draft is not None and same_tower(self.target, self.draft)
        self._share_features = share_features
        self._guards = Guards(None if processor is None else processor.tokenizer)
        self._worker = None if self.draft is None else Worker(self.draft.device)

    def generate(
        self,
        video: str | Path | Video | None,
        prompt: str = DEFAULT_PROMPT,
        *,
        frames: int | None = None,
        fps: float | None = None,
        **how: Any,
    ) -> Result:
        """Answer a question about a video.

        Args:
            video: A file, frames already read, or None for a question without a video.
            prompt: The question.
            frames, fps: How many frames to take, or how many a second; by default what the checkpoint asks for.
            **how: The fields of `Settings`: method, keep, gamma, max_new_tokens, temperature, seed, check, ...

        Raises:
            RushesError: Bad input, in one line.
        """
        *_, last = self.stream(video, prompt, frames=frames, fps=fps, **how)
        assert last.result is not None
        return last.result

    def stream(
        self,
        video: str | Path | Video | None,
        prompt: str = DEFAULT_PROMPT,
        *,
        frames: int | None = None,
        fps: float | None = None,
        **how: Any,
    ) -> Iterator[Event]:
        """As `generate`, event by event: text as it is accepted; the last event carries the result.

        Bad settings are refused here and now, everything else at the first event.
        """
        settings = Settings(**how)
        self._refuse_without_draft(settings)
        return self._stream(video, prompt, frames, fps, settings)

    def _stream(
        self, video: str | Path | Video | None, prompt: str, frames: int | None, fps: float | None, settings: Settings
    ) -> Iterator[Event]:
        stats = Stats()
        with stats.phase("decode_video"):
            inputs, video = self.inputs(video, prompt, frames=frames, fps=fps)
        shown = 0 if video is None else len(video.frames)
        notes = () if video is None else (*video.notes, *pixel_notes(self.processor, inputs, video))
        for event in self._events(inputs, stats, settings):
            if event.result is not None:
                notes += event.result.notes
                event = replace(event, result=replace(event.result, frames=shown, notes=notes))
            yield event

    def inputs(
        self, video: str | Path | Video | None, prompt: str, *, frames: int | None = None, fps: float | None = None
    ) -> tuple[Inputs, Video | None]:
        """What the processor makes of a video and a question, and the frames that were read.

        Raises:
            RushesError: No processor, or a video or prompt that cannot be used.
        """
        if self.processor is None:
            raise RushesError("this pair has no processor: pass one to Pair, or use generate_inputs")
        check_prompt(prompt)
        if not isinstance(video, str | Path | Video | None):
            raise RushesError(f"a video is a file, a rushes.video.Video or None, got a {type(video).__name__}")
        if isinstance(video, str | Path):
            video = read_video(video, sampling_for(self.processor, frames, fps, self.target.max_frames))
        return build_inputs(self.processor, prompt, video), video

    def generate_inputs(self, inputs: Inputs, **how: Any) -> Result:
        """Answer from what a processor returned.

        Args:
            inputs: A batch of one.
            **how: The fields of `Settings`.

        Returns:
            The answer; its `text` is "" when the pair has no processor, which holds the tokenizer.

        Raises:
            RushesError: Bad input, in one line.
        """
        settings = Settings(**how)
        self._refuse_without_draft(settings)
        *_, last = self._events(inputs, Stats(), settings)
        assert last.result is not None
        return last.result

    @property
    def shares_features(self) -> bool:
        """Does one vision pass serve both models?"""
        return self._share_features

    def tokens(self, inputs: Inputs, settings: Settings, eos: tuple[int, ...]) -> Iterator[list[int]]:
        """The tokens of an answer, as they are accepted, that ends at `eos` and not where the checkpoint says."""
        self._refuse_without_draft(settings)
        options = settings.options(eos, self.repetition_penalty)
        return (step.tokens for step in self._decode(inputs, settings.recipe(), options, Stats()))

    def events(
        self,
        inputs: Inputs,
        settings: Settings,
        *,
        recall: Recall | None = None,
        question_tokens: int | None = None,
        stats: Stats | None = None,
    ) -> Generator[Event]:
        """As `stream`, from what a processor returned.

        Args:
            recall: The door to what earlier requests have read; made for this request.
            question_tokens: As in `Options`.
            stats: Filled in; what was spent on the inputs may stand there already.
        """
        self._refuse_without_draft(settings)
        return self._events(inputs, stats or Stats(), settings, recall, question_tokens)

    def _events(
        self,
        inputs: Inputs,
        stats: Stats,
        settings: Settings,
        recall: Recall | None = None,
        question_tokens: int | None = None,
    ) -> Generator[Event]:
        recipe = settings.recipe()
        options = replace(settings.options(self.eos, self.repetition_penalty), question_tokens=question_tokens)
        with closing(self._decode(inputs, recipe, options, stats, recall)) as steps:
            for event in events_of(steps, recipe.name, stats, self.processor):
                if event.result is not None:
                    event = replace(event, result=self._finished(event.result, inputs, options, settings.check))
                yield event

    def _finished(self, result: Result, inputs: Inputs, options: Options, check: bool) -> Result:
        if options.positions == "stock" and (note := self.target.positions_note(inputs)) is not None:
            result = replace(result, notes=(*result.notes, note))
        if check:
            plain, penalty = self._plain(inputs, options), options.sampling.repetition_penalty
            result = replace(result, check=self.compare(inputs, plain, result.token_ids, penalty, options.positions))
        return result

    def compare(
        self,
        inputs: Inputs,
        plain: list[int],
        tokens: list[int],
        penalty: float | None = None,
        positions: str = "stock",
    ) -> Check:
        """Hold an answer against plain greedy decoding's tokens for the same inputs.

        Args:
            penalty: The repetition penalty that both were decoded with; None is the checkpoint's.
            positions: The rule of the rope positions that both were decoded with.
        """
        if plain == tokens:
            return Check(True)
        same = min(len(plain), len(tokens))
        at = next((i for i in range(same) if plain[i] != tokens[i]), same)
        if at == same:
            return Check(False, at)
        penalty = self.repetition_penalty if penalty is None else penalty
        logits = next_logits(self.target, inputs, plain[:at], penalty, positions)
        return Check(False, at, float(logits[plain[at]] - logits[tokens[at]]))

    def _plain(self, inputs: Inputs, options: Options) -> list[int]:
        progress = self._decode(inputs, method("ar"), options, Stats())
        return [token for step in progress for token in step.tokens]

    @property
    def repetition_penalty(self) -> float:
        """What the target's checkpoint asks for; 1 is none."""
        return getattr(self.target.model.generation_config, "repetition_penalty", None) or 1.0

    @contextmanager
    def stock_attention(self) -> Iterator[None]:
        """Let the target run transformers' own sdpa inside the block, for comparisons with its `generate`."""
        config = self.target.language_model.config
        ours = config._attn_implementation
        config._attn_implementation = "sdpa"
        try:
            yield
        finally:
            config._attn_implementation = ours

    @property
    def eos(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        ids = getattr(self.target.model.generation_config, "eos_token_id", None)
        if ids is None:
            ids = self.target.text_config.eos_token_id
        return () if ids is None else (ids,) if isinstance(ids, int) else tuple(ids)

    def _refuse_without_draft(self, settings: Settings) -> None:
        if self.draft is None and settings.recipe().needs_draft:
            raise RushesError(f"method {settings.method!r} needs a draft; give one, or use method 'ar' or 'std'")

    def _decode(
        self, inputs: Inputs, recipe: Method, options: Options, stats: Stats, recall: Recall | None = None
    ) -> Generator[Progress]:
        options = replace(options, guarded=self._guards.tokens(recipe.verifier.guards, options.eos))
        steps = decode(
            self.target,
            self.draft,
            inputs,
            recipe,
            options,
            stats,
            share_features=self._share_features,
            worker=self._worker,
            recall=recall,
        )
        try:
            with closing(steps):
                yield from steps
        except torch.OutOfMemoryError as error:
            raise OutOfMemory("out of GPU memory; use fewer frames, a smaller --keep or another --device") from error


def same_tower(target: VideoLM, draft: VideoLM) -> bool:
    """Do both models see with the same weights? Then one vision pass serves both."""
    if target is draft:
        return True
    ours, theirs = target.vision_state(), draft.vision_state()
    if ours.keys() != theirs.keys() or any(ours[n].shape != theirs[n].shape for n in ours):
        return False
    return all(torch.equal(ours[n], theirs[n].to(ours[n].device, ours[n].dtype)) for n in ours)
