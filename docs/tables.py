"""An extension of griffe for the Python reference: tables of parameters, fields, values and errors.

It reads the sources and never imports them. A class of attrs gets a table of its fields, each with the string literal
under the field. A function gets a table of its parameters; a sentence of its docstring that begins with the name of a
parameter goes there. Sentences with "raise" and the name of an error fill a table of errors. An enumeration gets a
table of its members.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import griffe
from griffe import (
    Attribute,
    Class,
    Docstring,
    DocstringParameter,
    DocstringRaise,
    DocstringSection,
    DocstringSectionParameters,
    DocstringSectionRaises,
    DocstringSectionText,
    Expr,
    ExprCall,
    Function,
    Module,
    Object,
    Parameter,
    ParameterKind,
    Parameters,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTRS = {"frozen", "define", "record", "attrs.frozen", "attrs.define"}
ENUMERATIONS = {"Enum", "IntEnum", "StrEnum", "TextEnum"}
SENTENCE_END = re.compile(r"(?<=[.:])\s+(?=[A-Z`])")
RAISES = re.compile(r"^Raises? `?(?P<error>[A-Z]\w+)`?,?\s*(?P<when>.*)$", re.DOTALL)
OR_RAISES = re.compile(r"\b(?:or|but) raises? `?(?P<error>[A-Z]\w+)`?,?\s*(?P<when>.*)$", re.DOTALL)


class TablesExtension(griffe.Extension):
    """Adds the tables once a package is loaded, so that annotations and base classes resolve."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Complete every class and function of the package."""
        members = list(_members(pkg))
        for member in members:
            if isinstance(member, Class) and _is_attrs(member):
                _add_init(member)
        for member in members:
            if isinstance(member, Class):
                _complete_class(member)
            elif isinstance(member, Function) and member.docstring and "property" not in member.labels:
                _complete_function(member)


def _members(parent: Object) -> Iterator[Object]:
    """Yield the modules, classes and functions below `parent`, without those that it imports."""
    for member in parent.members.values():
        if isinstance(member, Module | Class | Function):
            yield member
            if not isinstance(member, Function):
                yield from _members(member)


# ------------------------------------------------------------------------------------------------------------ classes


def _is_attrs(cls: Class) -> bool:
    return any(_decorator_name(decorator.value) in ATTRS for decorator in cls.decorators)


def _decorator_name(value: str | Expr) -> str:
    return str(value).partition("(")[0]


def _add_init(cls: Class) -> None:
    """Add the `__init__` that attrs generates; fields of base classes come first."""
    if "__init__" in cls.members:
        return
    fields = {field.name: field for owner in [*reversed(_bases(cls)), cls] for field in _fields(owner)}
    init = Function("__init__", parent=cls, returns="None")
    init.parameters = Parameters(
        Parameter("self", kind=ParameterKind.positional_or_keyword),
        *(_parameter(field, is_keyword_only=_is_keyword_only(cls)) for field in fields.values()),
    )
    cls.set_member("__init__", init)


def _bases(cls: Class) -> list[Class]:
    try:
        return [base for base in cls.mro() if _is_attrs(base)]
    except ValueError:  # a base class of another package, which is not loaded
        return []


def _fields(cls: Class) -> list[Attribute]:
    return [
        member
        for member in cls.members.values()
        if isinstance(member, Attribute)
        and member.annotation is not None
        and "property" not in member.labels
        and "init=False" not in str(member.value)
    ]


def _is_keyword_only(cls: Class) -> bool:
    return any("kw_only=True" in str(decorator.value) for decorator in cls.decorators)


def _parameter(field: Attribute, *, is_keyword_only: bool) -> Parameter:
    kind = ParameterKind.keyword_only if is_keyword_only else ParameterKind.positional_or_keyword
    name = field.name.lstrip("_")  # attrs takes private fields without their underscore
    return Parameter(name, annotation=field.annotation, kind=kind, default=_default(field), docstring=field.docstring)


def _default(field: Attribute) -> str | Expr | None:
    value = field.value
    if isinstance(value, ExprCall) and str(value.function) == "wire":  # a field of a manifest
        return None if "required=True" in str(value) else "None"
    if not isinstance(value, ExprCall) or str(value.function) != "field":
        return value
    options = {argument.name: argument.value for argument in value.arguments if hasattr(argument, "name")}
    if "factory" in options:
        return f"{options['factory']}()"
    return options.get("default")


def _complete_class(cls: Class) -> None:
    if not cls.docstring:
        return
    sections: list[DocstringSection] = [DocstringSectionText(cls.docstring.value)]
    if _is_attrs(cls) and _is_generated(cls.members.get("__init__")):
        text, errors = _text_and_errors(cls.docstring, {})
        sections = [text, *_parameter_section(cls.docstring, _described_fields(cls), "Fields:"), *errors]
        for field in _fields(cls):
            field.docstring = None  # the table has it
    elif any(str(base) in ENUMERATIONS for base in cls.bases):
        sections.append(DocstringSectionText(_values(cls)))
    else:
        sections = _function_sections(cls.docstring, cls.parameters)
    cls.docstring.__dict__["parsed"] = sections


def _is_generated(init: object) -> bool:
    return isinstance(init, Function) and init.docstring is None and init.lineno is None


def _described_fields(cls: Class) -> list[tuple[Parameter, str]]:
    parameters = list(cls.members["__init__"].parameters)[1:]
    return [(each, each.docstring.value if each.docstring else "") for each in parameters]


def _values(cls: Class) -> str:
    """A Markdown table of an enumeration's members."""
    members = [each for each in cls.members.values() if isinstance(each, Attribute) and each.name.isupper()]
    rows = []
    for member in members:
        meaning = _on_one_line(member.docstring.value if member.docstring else "")
        rows.append(f"| `{member.name}` | `{_on_one_line(str(member.value))}` | {meaning} |")
        member.docstring = None  # the table has it
    return "\n".join(["| Member | Value | Meaning |", "| --- | --- | --- |", *rows])


def _on_one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# ---------------------------------------------------------------------------------------------------------- functions


def _complete_function(function: Function) -> None:
    sections = _function_sections(function.docstring, function.parameters)
    function.docstring.__dict__["parsed"] = sections


def _function_sections(docstring: Docstring, parameters: Parameters) -> list[DocstringSection]:
    described = [each for each in parameters if each.name not in {"self", "cls", "_"}]
    descriptions = {each.name: "" for each in described}
    text, errors = _text_and_errors(docstring, descriptions)
    table = _parameter_section(docstring, [(each, descriptions[each.name]) for each in described], "Parameters:")
    return [text, *table, *errors]


def _text_and_errors(
    docstring: Docstring, descriptions: dict[str, str]
) -> tuple[DocstringSectionText, list[DocstringSection]]:
    """Return the prose and the table of errors; fill the descriptions of parameters."""
    errors: list[tuple[str, str]] = []
    paragraphs = []
    for paragraph in docstring.value.split("\n\n"):
        is_code = paragraph.startswith(("    ", ">>>", "|", "- ", "1. "))
        paragraphs.append(paragraph if is_code else _without_table_sentences(paragraph, descriptions, errors))
    text = DocstringSectionText("\n\n".join(filter(None, paragraphs)) or docstring.value)
    rows = [DocstringRaise(annotation=_annotation(error, docstring), description=when) for error, when in errors]
    return text, [DocstringSectionRaises(rows)] if rows else []


def _without_table_sentences(paragraph: str, descriptions: dict[str, str], errors: list[tuple[str, str]]) -> str:
    """Move sentences about one parameter or one error to `descriptions` and `errors`; return the others."""
    rest = []
    for sentence in SENTENCE_END.split(paragraph):
        names = [name for name in re.findall(r"`(\w+)`", sentence) if name in descriptions]
        if match := RAISES.match(sentence) or OR_RAISES.search(sentence):
            errors.append((match["error"], match["when"].strip(" .")))
        if match and match.re is RAISES:
            continue
        if names and sentence.startswith(f"`{names[0]}`") and len(set(names)) == 1:
            descriptions[names[0]] = f"{descriptions[names[0]]} {_without_name(sentence, names[0])}".strip()
        else:
            rest.append(sentence)
    return " ".join(rest)


def _without_name(sentence: str, name: str) -> str:
    """Return the sentence without `name` and its verb: "`runs` is the number of draws" gives "The number of draws"."""
    text = re.sub(rf"^`{name}`(?: is| are|:)\s+", "", sentence)
    return text[:1].upper() + text[1:]


def _annotation(error: str, docstring: Docstring) -> str | Expr:
    return griffe.parse_docstring_annotation(error, docstring)


def _parameter_section(
    docstring: Docstring, described: list[tuple[Parameter, str]], title: str
) -> list[DocstringSection]:
    """A table of the parameters. A parameter without a description has the first sentence of its type's docstring."""
    rows = [
        DocstringParameter(
            name=parameter.name,
            annotation=parameter.annotation,
            description=text or _first_sentence_of_type(parameter, docstring),
            value=None if parameter.default is None else str(parameter.default),
        )
        for parameter, text in described
    ]
    return [DocstringSectionParameters(rows, title=title)] if rows else []


def _first_sentence_of_type(parameter: Parameter, docstring: Docstring) -> str:
    names = (
        [part for part in parameter.annotation if hasattr(part, "canonical_path")]
        if isinstance(parameter.annotation, Expr)
        else []
    )
    for name in names:
        try:
            target = docstring.parent.modules_collection[name.canonical_path]
            text = target.docstring.value if target.is_class and target.docstring else ""
        except (griffe.GriffeError, KeyError, AttributeError):
            continue
        if text:
            return SENTENCE_END.split(text.partition("\n\n")[0])[0]
    return ""
