"""Finds or installs the peers: Python packages from PyPI, crates from crates.io. Nothing is installed outside the cache folder."""
import os, pathlib, shutil, subprocess, sys

from processes import ENVIRONMENT, Failed, run, tell

PEERS = pathlib.Path(__file__).parent / "peers"


def cache_folder():
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return base / "ferrane-bench"


class Python:
    """An interpreter that has the packages: the one named, this one, or one of the cache folder's own."""

    def __init__(self, given, cache):
        self.given, self.cache, self.reasons = given, cache, {}

    def having(self, *packages):
        """The interpreter for peers that need these packages; raises if they cannot be had."""
        for interpreter in [self.given or sys.executable, self.venv() / "bin" / "python"]:
            if os.path.exists(interpreter) and all(importable(interpreter, package) for package in packages):
                return interpreter
            if self.given:
                raise Failed(f"{self.given} has not all of {', '.join(packages)}")
        return self.install(packages)

    def venv(self):
        return self.cache / "venv"

    def install(self, packages):
        if packages not in self.reasons:
            self.reasons[packages] = None
            tell(f"installing {', '.join(packages)} into {self.venv()} ...")
            try:
                if not self.venv().exists():
                    run([sys.executable, "-m", "venv", self.venv()])
                run([self.venv() / "bin" / "python", "-m", "pip", "install", "--quiet", *packages])
            except Failed as failed:
                self.reasons[packages] = f"cannot install {', '.join(packages)}: {failed}"
        if self.reasons[packages]:
            raise Failed(self.reasons[packages])
        return self.venv() / "bin" / "python"


def importable(interpreter, package):
    find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([interpreter, "-c", find], env=ENVIRONMENT).returncode == 0


class RustPeers:
    """Builds the crates of `peers/`, each once."""

    def __init__(self, cache):
        self.target, self.built = cache / "peers", {}

    def program(self, name):
        if name not in self.built:
            self.built[name] = self.build(name)
        program = self.built[name]
        if isinstance(program, Failed):
            raise program
        return program

    def build(self, name):
        if not shutil.which("cargo"):
            return Failed("not built: there is no cargo")
        tell(f"building {name}, which takes minutes the first time ...")
        flags = {"RUSTFLAGS": "-C target-cpu=native", "CARGO_TARGET_DIR": str(self.target)}
        try:
            run(["cargo", "build", "--release", "--quiet", "--locked", "--manifest-path", PEERS / "Cargo.toml",
                 "--package", name], {**ENVIRONMENT, **flags})
        except Failed as failed:
            return Failed(f"not built: {failed}")
        return self.target / "release" / name
