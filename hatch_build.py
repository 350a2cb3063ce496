"""Compile the two hot places while a wheel or an editable install is built: the logging call and the rows for COPY.

Optional: without a C compiler, or with INGEST_NO_EXTENSION=1, the wheel is a pure one and Python does the same work, a
few times slower (docs/decisions.md, "The logging call in C", "Rows for COPY are woven in C").
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES: Final = (Path("client/ingest_client/_hot.c"), Path("ingest/store/_weave.c"))
FLAGS: Final = (
    "-O2",
    "-fPIC",
    "-shared",
    "-std=c11",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
)
COMPILE_TIMEOUT: Final = 120.0


class CompileExtensions(BuildHookInterface[Any]):
    """Hatch's custom build hook."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the extension beside its source, and tell the wheel that it is for this platform."""
        del version
        if self.target_name != "wheel" or os.environ.get("INGEST_NO_EXTENSION"):
            return
        root = Path(self.root)
        for source in SOURCES:
            library = root / source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX") or ".so")
            problem = compile_extension(root / source, library)
            if problem is None:
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
                build_data["artifacts"].append(f"/{library.relative_to(root).as_posix()}")
            else:
                self.app.display_warning(f"{source.stem} stays pure Python, and slower: {problem}")


def compile_extension(source: Path, library: Path) -> str | None:
    """Compile `source` to `library`; why it was not possible, or None."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    unfinished = library.with_name(f".{library.name}.{os.getpid()}")
    command = [
        *shlex.split(compiler),
        *FLAGS,
        *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()),
        f"-I{sysconfig.get_path('include')}",
        str(source),
        "-o",
        str(unfinished),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT, check=False)
        if done.returncode:
            return f"{command[0]} failed: {done.stderr.strip()[-500:]}"
        unfinished.replace(library)  # another process may have the old one mapped
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    finally:
        unfinished.unlink(missing_ok=True)
    return None
