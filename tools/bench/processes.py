"""Runs programs, each in a process of its own, and tells their output, peak memory and what went wrong."""
import dataclasses, os, subprocess, sys, tempfile

# Some machines set these for old OpenBLAS builds; they slow a current one.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


class Failed(Exception):
    """Why there is no figure, in one line."""


@dataclasses.dataclass
class Done:
    """What a program printed, and its peak memory in GB."""
    out: str
    errors: str
    gb: float


def run(command, environment=None):
    """Runs a command to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        try:
            child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=errors,
                                     stdin=subprocess.DEVNULL, env=environment or ENVIRONMENT)
        except OSError as error:
            raise Failed(f"cannot start {command[0]}: {error.strerror}") from None
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        # Kilobytes on Linux, bytes on macOS.
        peak = usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e9 / 1024)
        out.seek(0), errors.seek(0)
        done = Done(out.read(), errors.read(), peak)
    if child.returncode:
        raise Failed(f"{os.path.basename(child.args[0])} ended with {child.returncode}: {reason(done.errors)}")
    return done


def start(command):
    """Starts a command whose output is read as it comes."""
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, env=ENVIRONMENT)


def ended(child):
    """Waits for a started command and raises if it failed."""
    errors = child.communicate()[1].decode(errors="replace")
    if child.returncode:
        raise Failed(f"{os.path.basename(child.args[0])} ended with {child.returncode}: {reason(errors)}")


def reason(errors):
    """The line of a program's errors that says most: the first that begins with `error`, else the last."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    said = [line for line in lines if line.lower().startswith("error")]
    return (said or lines[-1:] or ["it said nothing"])[0][:200]


def tell(text):
    """Says what goes on, beside the tables."""
    print(text, file=sys.stderr, flush=True)
