"""The site of the documentation: the pages of this repository, and the API from its docstrings.

CONTRIBUTING.md has the command that builds it.
"""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from docutils.nodes import Node
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring

from tcae_ops.version import VERSION

project, author, release = "tcae", "The tcae developers", VERSION
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
]

# Pages lie where a forge shows them, so the root is the repository.
root_doc = "docs/index"
include_patterns = ["docs/*.md", "tcae/weights/*.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "build", "dist", "runs"]

myst_heading_anchors = 4  # those of a forge
myst_enable_extensions = ["html_image"]

# Names in backticks lead to what has them. Many are arguments, which have no place of their own.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    ("py:class", r"(torch|numpy|np|pandas|collections|os|pathlib|typing)\..*|Path|Tensor|NDArray"),
]
autodoc_member_order = "bysource"
# Aliases keep their names; what cannot be resolved for that, as NDArray, stays as it was written.
autodoc_type_aliases = {
    "NDArray": "NDArray",
    **{name: f"tcae_ops.{name}" for name in ("Units", "Padding")},
}
autodoc_typehints = "description"  # signatures stay readable
autodoc_typehints_description_target = "documented"
python_maximum_signature_line_length = 64

html_theme = "furo"
html_title = f"tcae {VERSION}"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_extra_path = ["site/index.html"]  # the root leads to the start page
html_copy_source = False


def with_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Make the contents of the site from the links of the start page, a part for each heading."""
    if name != root_doc:
        return
    for part in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
        caption, _, text = part.partition("\n")
        if pages := re.findall(r"\]\(([^)#\s]+\.md)\)", text):
            lines = "\n".join([":hidden:", f":caption: {caption}", "", *pages])
            source[0] += f"\n```{{toctree}}\n{lines}\n```\n"


def as_google(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Read a docstring in Google's style. Types stand in annotations, never before a colon."""
    if what == "class" and is_dataclass(obj):
        obj.__annotations__ = get_type_hints(obj)  # without what tcae.cli says of options
    text = re.sub(r"^(?:Returns|Yields):\n +", ":returns: ", "\n".join(lines), flags=re.MULTILINE)
    text = re.sub(r"docs/([\w-]+)\.md(#[\w-]+)?", r":doc:`/docs/\1`", text)
    lines[:] = GoogleDocstring(text, Config(napoleon_use_ivar=True)).lines()


def type_alias(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Node) -> Any:
    """Find an alias of a type, which is data to Sphinx, where a class is looked for."""
    if node.get("reftype") != "class":
        return None
    python = env.get_domain("py")
    place, target = node.get("refdoc", root_doc), node["reftarget"]
    return python.resolve_xref(env, place, app.builder, "obj", target, node, text)


def setup(app: Sphinx) -> None:
    """Register what is above; Sphinx calls it."""
    app.connect("source-read", with_contents)
    app.connect("autodoc-process-docstring", as_google)
    app.connect("missing-reference", type_alias)
