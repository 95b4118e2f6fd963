"""Writes constraints.txt: the exact versions of everything installed beside this Python."""

from importlib.metadata import distributions
from pathlib import Path

LEFT_OUT = {"tuningfork", "pip", "setuptools", "wheel"}

lines = {
    # Local parts such as +cpu name a build, not a version that an index knows.
    f"{dist.name.lower().replace('_', '-')}=={dist.version.split('+')[0]}"
    for dist in distributions()
    if dist.name.lower() not in LEFT_OUT
}
Path(__file__).parent.with_name("constraints.txt").write_text(
    "# Versions that the tests passed with; written by scripts/constraints.py.\n" + "\n".join(sorted(lines)) + "\n"
)
print(f"{len(lines)} versions")
