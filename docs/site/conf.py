"""Settings of the site; `make docs` lays its sources out (`stage.py`) and builds them so."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import api  # noqa: E402

from ddphf import __version__  # noqa: E402

project, author, copyright = "ddphf", "The ddphf developers", "The ddphf developers"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "docstrings",
    "sphinx_copybutton",
    "formulas",
    "shell_blocks",
]
exclude_patterns = ["workspaces"]
root_doc = "index"
language = "en"
highlight_language = "none"
smartquotes_action = "qe"  # no dashes: --interval stays an option
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!ddphf[._]).*")]  # other packages have pages elsewhere
nitpick_ignore = [
    (role, name)
    for name in api.inner(HERE.parents[1] / "ddphf")
    for role in ("py:class", "py:obj", "py:data")
]
suppress_warnings = ["ref.python"]  # short names of annotations that several rooms have

html_theme = "furo"
html_title = f"ddphf {__version__}"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_show_sphinx = False
html_domain_indices = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
python_maximum_signature_line_length = 60

myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # `tutorials.py` has run them
nb_mime_priority_overrides = [("html", "text/html", 5)]

toc_object_entries = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
strip_signature_backslash = True  # attributes such as p_value_
copybutton_prompt_text = "$ "
