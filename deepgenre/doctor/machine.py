"""Checks Python, packages, processors, memory, devices, decoders and the folders of caches."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

import deepgenre
from deepgenre.audio import ffmpeg
from deepgenre.devices import compile_cache
from deepgenre.doctor.finding import Finding
from deepgenre.weights.loading import imported_folder

LOW_MEMORY_BYTES = 2 << 30  # a prediction takes 0.7 to 1 GB
LOW_DISK_BYTES = 1 << 30
COMMAND_SECONDS = 20


def findings() -> Iterator[Finding]:
    """Yields a finding per part of the machine."""
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield _packages()
    yield _cores()
    yield _memory()
    yield _devices()
    yield _ffmpeg()
    yield _libsndfile()
    yield _folder("compiled", compile_cache(), "JAX_COMPILATION_CACHE_DIR")
    yield _folder("weights", imported_folder(), "DEEPGENRE_WEIGHTS")


def _packages() -> Finding:
    """Returns whether the installed packages are those that the program's metadata asks for."""
    wrong = []
    for text in importlib.metadata.requires("deepgenre") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} is {installed}, not {requirement.specifier}")
    versions = {name: importlib.metadata.version(name) for name in ("jax", "flax", "numpy")}
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    if wrong:
        return Finding("packages", "fault", "; ".join(wrong), "pip install --upgrade deepgenre")
    return Finding("packages", "ok", f"deepgenre {deepgenre.__version__}, {text}")


def _cores() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("processors", "ok", f"{usable} of {os.cpu_count()} cores are usable")


def _memory() -> Finding:
    try:
        free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return Finding("memory", "note", "this system does not report its memory")
    detail = f"{total_bytes / 2**30:.1f} GiB"
    if total_bytes < LOW_MEMORY_BYTES:
        return Finding("memory", "note", detail, "predictions take about 1 GiB; close programs")
    return Finding("memory", "ok", f"{detail}, {free_bytes / 2**30:.1f} GiB of it unused")


def _devices() -> Finding:
    """Returns the devices of JAX, and whether a GPU of the machine is not among them."""
    import jax

    found = jax.devices()
    detail = f"{len(found)} x {found[0].device_kind} ({jax.default_backend()})"
    gpu = _first_line(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    if gpu and jax.default_backend() == "cpu":
        return Finding(
            "devices",
            "note",
            f"{detail}; JAX does not use the {gpu}",
            "install deepgenre[cuda12], and see JAX's installation guide for the driver it needs",
        )
    return Finding("devices", "ok", detail)


def _ffmpeg() -> Finding:
    if not ffmpeg.is_installed():
        return Finding(
            "ffmpeg",
            "note",
            "not on the PATH: m4a, aac, wma, ape, wv, dsf and damaged files are refused",
            "install the program ffmpeg (apt install ffmpeg, brew install ffmpeg)",
        )
    version = _first_line(["ffmpeg", "-version"])
    if not version:
        return Finding("ffmpeg", "fault", "on the PATH, but does not start", "install it again")
    return Finding("ffmpeg", "ok", " ".join(version.split()[:3]))


def _libsndfile() -> Finding:
    import soundfile

    missing = {"WAV", "FLAC", "OGG", "MP3"} - soundfile.available_formats().keys()
    detail = soundfile.__libsndfile_version__
    if missing:
        names = ", ".join(sorted(missing)).lower()
        advice = "install soundfile from PyPI, whose wheel contains a current libsndfile"
        return Finding("libsndfile", "note", f"{detail} cannot read {names}", advice)
    return Finding("libsndfile", "ok", detail)


def _folder(subject: str, folder: Path, variable: str) -> Finding:
    """Returns whether files can be written into a folder of caches, and the space on its disk."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        advice = f"set {variable} to a folder that can be written"
        return Finding(subject, "note", f"{folder}: nothing can be written ({reason})", advice)
    free_bytes = shutil.disk_usage(existing).free
    detail = f"{folder}, {free_bytes / 2**30:.1f} GiB free"
    if free_bytes < LOW_DISK_BYTES:
        return Finding(subject, "note", detail, f"free space, or set {variable} to another disk")
    return Finding(subject, "ok", detail)


def _first_line(command: list[str]) -> str:
    """Returns the first line that a program prints; '' where it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter(done.stdout.splitlines()), "")
