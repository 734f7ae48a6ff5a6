"""Build backend of `tcae`: setuptools, plus the answer to where `tcae_ops` comes from.

`tcae` is plain Python. It needs the operators, which are compiled, as a distribution of their own:
that of the same tree, in ops/. So `pip install .` installs both. An editable install takes the
`tcae_ops` that is installed, editable or not: pip refuses a tree that it is also told to link to.
"""

from __future__ import annotations

import os

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403


def build_sdist(sdist_directory, config_settings=None):
    """Build a source distribution, whose metadata must not name a folder of this machine."""
    os.environ["TCAE_OPS_FROM"] = "anywhere"
    return build_meta.build_sdist(sdist_directory, config_settings)


def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    """Write the metadata of an editable install."""
    os.environ["TCAE_OPS_FROM"] = "anywhere"
    return build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """Build an editable install."""
    os.environ["TCAE_OPS_FROM"] = "anywhere"
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
