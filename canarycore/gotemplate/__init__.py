"""Templates in Go's text/template language, without methods, channels and complex numbers.

    template = parse('{{ if eq target "web" }}{{ printf "%s-%d" target 2 }}{{ end }}', {"target": lambda: "web"})
    template.render()       "web-2"

The language is that of Go's packages text/template and fmt: actions with pipelines, variables, `if`, `with`, `range`,
`define`, `template`, `block`, comments, dashes that trim white space, and the built-in functions. Data are None, bool,
int, float, str and mappings with str keys. An instruction for which Go has another result than a text raises
`TemplateError`.

Everything is bounded: the nesting of a template when it is parsed, and the steps and the length of a rendering.
"""

from canarycore.gotemplate._errors import TemplateError
from canarycore.gotemplate._execute import LONGEST, STEPS, Template, parse
from canarycore.gotemplate._functions import BUILT_IN_FUNCTIONS
from canarycore.gotemplate._lexer import KEYWORDS
from canarycore.gotemplate._parser import DEPTH
from canarycore.gotemplate._values import Value

__all__ = [
    "BUILT_IN_FUNCTIONS",
    "DEPTH",
    "KEYWORDS",
    "LONGEST",
    "STEPS",
    "Template",
    "TemplateError",
    "Value",
    "parse",
]
