"""``fourfold doctor``: what this machine has, what each engine can do here, and what is missing."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fourfold.cli.doctor_psnr import psnr
from fourfold.cli.extras import EXTRAS
from fourfold.cli.printing import say
from fourfold.errors import FourfoldError, UnknownModelError
from fourfold.memory import system_memory
from fourfold.version import __version__

app = typer.Typer(add_completion=False)

#: Processor features that matter here, as Linux names them.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")

_LIBRARIES = ("numpy", "pyvips", "safetensors", "openvino", "torch", "onnxruntime")


#: Side of the picture that each engine is tried on.
_TRIAL_PX = 128


@app.callback(invoke_without_command=True)
def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    trial: Annotated[bool, typer.Option(help="Try each engine on a small picture.")] = True,
    model: Annotated[str | None, typer.Option("-n", "--model", help="The model to try them with.")] = None,
) -> None:
    """Tell what this machine has, what each engine does here, and what is missing.

    Exit code 1 if nothing here can upscale.
    """
    if context.invoked_subcommand is not None:
        return
    findings: dict[str, Any] = {
        "fourfold": __version__,
        "machine": _machine(),
        "engines": _engines(trial, model),
        "pictures": _pictures(),
        "models": _models(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "missing_extras": _missing_extras(),
    }
    if as_json:
        typer.echo(json.dumps(findings, indent=2))
    else:
        _tell(findings)
    if not any(engine["works"] for engine in findings["engines"]):
        raise typer.Exit(1)


app.command("psnr")(psnr)


def _machine() -> dict[str, Any]:
    total, available = system_memory()
    return {
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "python": platform.python_version(),
        "processor": _cpu_field("model name") or platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": _features(),
        "memory_bytes": total,
        "memory_available_bytes": available,
    }


def _features() -> list[str] | None:
    """Returns the processor's features of :data:`_FEATURES`, or None where the system does not say."""
    flags = (_cpu_field("flags") or _cpu_field("Features") or "").split()
    return [name for name in _FEATURES if name in flags] if flags else None


def _cpu_field(name: str) -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _engines(trial: bool, model: str | None) -> list[dict[str, Any]]:
    from fourfold.upscaling import ENGINES, available
    from fourfold.weights import default_name, load_weights, shipped_names

    trial = trial and (model is not None or bool(shipped_names()))  # without weights, the rest is told all the same
    if trial or model is not None:
        load_weights(model or default_name())  # a name that is wrong is no engine's fault
    installed = available()
    return [_engine(name, trial, model) if name in installed else _absent(name) for name in ENGINES]


def _absent(name: str) -> dict[str, Any]:
    remedy = "pip install 'fourfold[torch]'" if name == "torch" else f"pip install {name}"
    return {"name": name, "works": False, "problem": f"not installed; {remedy}"}


def _engine(name: str, trial: bool, model: str | None) -> dict[str, Any]:
    from fourfold.upscaling import PRECISIONS

    try:
        finding: dict[str, Any] = {"name": name, "works": True, "device": _device(name), "auto": _auto(name, model)}
    except (FourfoldError, ImportError, OSError, RuntimeError) as error:
        return {"name": name, "works": False, "problem": f"installed, but cannot be loaded: {error}"}
    if not trial:
        return finding
    for precision in PRECISIONS:
        try:
            finding[precision] = _trial(name, precision, model)
        except (FourfoldError, ImportError, OSError, RuntimeError) as error:
            finding[precision] = {"problem": str(error)}
    finding["works"] = any("problem" not in finding[precision] for precision in PRECISIONS)
    return finding


def _auto(name: str, model: str | None) -> dict[str, str]:
    """Returns the precision that "auto" is for each kind of picture; networks on luma stay in fp32."""
    from fourfold.upscaling import auto_precision
    from fourfold.upscaling.folding import folded
    from fourfold.weights import load_weights

    dtypes = ("uint8", "uint16", "float32")
    if model is not None and folded(load_weights(model)).reads == "luma":
        return dict.fromkeys(dtypes, "fp32")
    return {dtype: auto_precision(name, dtype) for dtype in dtypes}


def _device(name: str) -> str:
    if name == "torch":
        from fourfold.upscaling.engines.torch import best_device

        return str(best_device())
    return "cpu"


def _trial(engine: str, precision: str, model: str | None) -> dict[str, Any]:
    """Upscales a small picture and says how long it took, once everything is warm."""
    import numpy as np

    from fourfold.upscaling import load

    started_s = time.perf_counter()
    upscaler = load(model, engine=engine, precision=precision)
    if upscaler.precision != precision:
        return {"problem": "not on this processor"}
    picture = np.random.default_rng(0).integers(0, 256, (_TRIAL_PX, _TRIAL_PX, 3), np.uint8)
    upscaler(picture)
    ready_s = time.perf_counter() - started_s
    again_s = time.perf_counter()
    upscaler(picture)
    elapsed_s = time.perf_counter() - again_s
    return {
        "model": upscaler.name,
        "start_s": round(ready_s, 3),
        "elapsed_s": round(elapsed_s, 4),
        "output_megapixels_per_s": round((_TRIAL_PX * upscaler.scale) ** 2 / elapsed_s / 1e6, 2),
    }


def _pictures() -> dict[str, Any]:
    import pyvips

    from fourfold.imaging import FORMATS

    held = {}
    for format in FORMATS.values():
        ways = {"read": f"{format.loader}load_source", "write": f"{format.loader}save_target"}
        held[format.name] = [way for way, operation in ways.items() if _has_operation(pyvips, operation)]
    return {"libvips": ".".join(str(pyvips.version(k)) for k in range(3)), "formats": held}


def _has_operation(pyvips: Any, name: str) -> bool:
    try:
        pyvips.Introspect.get(name)
    except pyvips.Error:
        return False
    return True


def _models() -> dict[str, Any]:
    from fourfold.weights import default_name, shipped_names

    def default(compressed: bool) -> str | None:
        try:
            return default_name(compressed)
        except UnknownModelError:
            return None

    return {"shipped": shipped_names(), "default": default(False), "default_for_compressed": default(True)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing_extras() -> dict[str, list[str]]:
    missing = {extra: [m for m in modules if importlib.util.find_spec(m) is None] for extra, modules in EXTRAS.items()}
    return {extra: modules for extra, modules in missing.items() if modules}


def _tell(findings: dict[str, Any]) -> None:
    machine = findings["machine"]
    features = "features unknown" if machine["features"] is None else " ".join(machine["features"]) or "no vector units"
    _line("fourfold", f"{findings['fourfold']}, Python {machine['python']}, {machine['system']}")
    _line("processor", f"{machine['processor']}, {machine['cores']} cores; {features}")
    _line("memory", f"{_gib(machine['memory_bytes'])}, {_gib(machine['memory_available_bytes'])} free")
    for engine in findings["engines"]:
        _line(engine["name"], _engine_text(engine))
    formats = findings["pictures"]["formats"]
    unable = [
        f"{name} ({', '.join(ways) or 'neither read nor written'})" for name, ways in formats.items() if len(ways) < 2
    ]
    able = [name for name, ways in formats.items() if len(ways) == 2]
    _line("pictures", f"libvips {findings['pictures']['libvips']}: {' '.join([*able, *unable])}")
    models = findings["models"]
    default, for_compressed = models["default"], models["default_for_compressed"]
    also = f", for compressed pictures {for_compressed}" if for_compressed != default else ""
    _line("models", f"{', '.join(models['shipped']) or 'none shipped'}; default: {default or 'none'}{also}")
    _line("libraries", ", ".join(f"{name} {version}" for name, version in findings["libraries"].items() if version))
    for extra, modules in findings["missing_extras"].items():
        _line("missing", f"{', '.join(modules)}: pip install 'fourfold[{extra}]'")


def _engine_text(engine: dict[str, Any]) -> str:
    if "device" not in engine:
        return str(engine["problem"])
    parts = [f"on {engine['device']}"]
    for precision in ("fp32", "bf16"):
        if precision in engine:
            trial = engine[precision]
            speed = trial.get("output_megapixels_per_s")
            parts.append(f"{precision} " + (f"{speed:g} megapixels/s" if speed is not None else trial["problem"]))
    auto = engine["auto"]
    parts.append(f"auto is {auto['uint8']}" + (" for 8 bits, fp32 for more" if auto["uint8"] != "fp32" else ""))
    return "; ".join(parts)


def _line(label: str, text: str) -> None:
    say(f"{label:<11}{text}")


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
