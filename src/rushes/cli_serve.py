"""`rushes serve`: the command."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rushes.cli_models import Debug, gamma_of
from rushes.errors import RushesError


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    target: Annotated[
        str | None, typer.Option(help="Checkpoint folder or hub id; the bundled pair by default.")
    ] = None,
    draft: Annotated[str | None, typer.Option(help="A smaller checkpoint with the same tokens.")] = None,
    method: Annotated[str, typer.Option(help="For requests that name none; see `rushes methods`.")] = "specvlm",
    keep: Annotated[float, typer.Option(help="For requests that do not say: share of video tokens kept.")] = 0.1,
    gamma: Annotated[str | None, typer.Option(help="For requests that name neither a method nor a gamma.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:0, ...; several with commas for several replicas.")
    ] = None,
    draft_device: Annotated[str | None, typer.Option(help="Of the drafts, likewise; the targets' by default.")] = None,
    dtype: Annotated[str, typer.Option(help="auto (the checkpoint's), float32, bfloat16 or float16.")] = "auto",
    replicas: Annotated[int, typer.Option(help="Pairs, each answering one request at a time.", min=1)] = 1,
    model_name: Annotated[
        str | None, typer.Option(help="The name that requests give; the target's by default.")
    ] = None,
    positions: Annotated[
        str, typer.Option(help="stock, as transformers numbers prompts, or reference, as the models' own code does.")
    ] = "stock",
    queue: Annotated[int, typer.Option(help="Most requests that wait.", min=0)] = 64,
    deadline: Annotated[float, typer.Option(help="Seconds for one request.")] = 300.0,
    grace: Annotated[float, typer.Option(help="Seconds for running answers when the server stops.", min=0)] = 30.0,
    cache_gib: Annotated[float, typer.Option(help="For what was read before, on each replica's device.", min=0)] = 2.0,
    video_gib: Annotated[float, typer.Option(help="For decoded videos, in main memory.", min=0)] = 1.0,
    media_dir: Annotated[Path | None, typer.Option(help="Folder that file: URLs may point into.")] = None,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Download https: URLs.")] = False,
    api_key: Annotated[
        str | None, typer.Option(help="What clients must send; or the variable RUSHES_API_KEY.", show_default=False)
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of one answer.", min=1)] = 4096,
    max_prompt_tokens: Annotated[int, typer.Option(help="Most tokens of one prompt.", min=1)] = 32768,
    max_frames: Annotated[int, typer.Option(help="Most frames of one video.", min=1)] = 768,
    max_seconds: Annotated[float, typer.Option(help="Longest video.")] = 3600.0,
    max_body_mib: Annotated[int, typer.Option(help="Largest request.", min=1)] = 64,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Origin of a page elsewhere that may ask; again for more; * for all.")
    ] = None,
    log_content: Annotated[bool, typer.Option("--log-content", help="Log questions and answers too.")] = False,
    standin: Annotated[bool, typer.Option("--standin", help="The bundled pair at its padded size, in bf16.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="On Ray Serve: replicas wherever a cluster has room.")] = False,
    replica_cpus: Annotated[
        float | None, typer.Option(help="With --ray: cores for each replica; 1 by default.", min=0.1)
    ] = None,
    debug: Debug = False,
) -> None:
    """An OpenAI-compatible server, with a page to try it at /."""
    from rushes.serve.config import GIB, Config
    from rushes.serve.limits import MIB, Limits
    from rushes.serve.logs import set_up
    from rushes.serve.run import address_of, listen
    from rushes.settings import Settings

    config = Config(
        model=model_name or (Path(target).name if target else "rushes-demo"),
        method=method,
        keep=keep,
        gamma=gamma_of(gamma),
        positions=positions,
        cache_bytes=int(cache_gib * GIB),
        clip_bytes=int(video_gib * GIB),
        queue=queue,
        deadline_s=deadline,
        grace_s=grace,
        media_dir=media_dir,
        allow_remote=allow_remote,
        api_key=api_key if api_key is not None else os.environ.get("RUSHES_API_KEY"),
        origins=tuple(allow_origin or ()),
        log_content=log_content,
        limits=Limits(
            body_bytes=max_body_mib * MIB,
            duration_s=max_seconds,
            frames=max_frames,
            prompt_tokens=max_prompt_tokens,
            new_tokens=max_tokens,
        ),
    )
    if target is None and draft is not None:
        raise RushesError("--draft without --target; give both, or neither for the bundled pair")
    if target is not None and standin:
        raise RushesError("--standin is the bundled pair; leave out --target and --draft")
    if target is not None and draft is None and Settings(method=method).recipe().needs_draft:
        raise RushesError("--target without --draft; give both, or use --method ar (plain decoding) or std (no draft)")
    if replica_cpus is not None and not ray:
        raise RushesError("--replica-cpus without --ray; a server without Ray takes what cores there are")
    if ray:
        _serve_on_ray((target, draft, device, draft_device, dtype, standin), config, replicas, replica_cpus, host, port)
        return
    listening = listen(host, port)
    pairs = _pairs(target, draft, _split(device, replicas), _split(draft_device, replicas), dtype, standin)
    set_up()
    from rushes.serve.backend import LocalBackend
    from rushes.serve.metrics import Metrics
    from rushes.serve.run import serve as run

    typer.echo(f"rushes serves {config.model} at {address_of(listening)} (Ctrl-C stops)", err=True)
    metrics = Metrics()
    run(LocalBackend(pairs, config, metrics), config, metrics, listening)


def _serve_on_ray(
    pair: tuple[str | None, str | None, str | None, str | None, str, bool],
    config: Any,
    replicas: int,
    cpus: float | None,
    host: str,
    port: int,
) -> None:
    target, draft, device, draft_device, dtype, standin = pair
    if draft_device is not None:
        raise RushesError("--draft-device with --ray; a replica there has one device, which both models share")
    if device not in (None, "cpu", "cuda"):
        raise RushesError(f"--device {device} with --ray; give cpu or cuda, and Ray gives every replica one of its own")
    from rushes.demo import bundled
    from rushes.loading import check_dtype
    from rushes.serve.ray_pair import PairSpec

    try:
        from rushes.serve.ray_run import run_on_ray
    except ImportError as error:
        if (error.name or "").startswith("rushes"):
            raise
        raise RushesError('--ray needs Ray Serve, which is not installed here; pip install "rushes[ray]"') from error
    check_dtype(dtype)
    if target is None:
        target, draft = bundled.TARGET, bundled.DRAFT
    spec = PairSpec(target, draft, device or "auto", dtype, standin)
    run_on_ray(spec, config, replicas, cpus or 1.0, host, port, lambda line: typer.echo(line, err=True))


def _split(devices: str | None, replicas: int) -> list[str | None]:
    """One device for each replica; they go round."""
    names = [None] if devices is None else [name.strip() for name in devices.split(",")]
    return [names[i % len(names)] for i in range(replicas)]


def _pairs(
    target: str | None,
    draft: str | None,
    devices: list[str | None],
    draft_devices: list[str | None],
    dtype: str,
    standin: bool,
) -> list[Any]:
    from rushes.cli_models import load_pair
    from rushes.demo import bundled
    from rushes.progress import quiet_libraries, working

    if standin:
        with working("loading the models"):
            quiet_libraries()
            return [bundled.standins(device or "cpu") for device in devices]
    if target is None:
        target, draft = bundled.TARGET, bundled.DRAFT
    return [load_pair(target, draft, *places, dtype) for places in zip(devices, draft_devices, strict=True)]
