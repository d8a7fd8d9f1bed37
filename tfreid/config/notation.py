"""How settings are written: YAML 1.2, without what misleads or grows beyond all bounds."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tfrecords.errors import UserError, shortened

MAX_BYTES = 1 << 18  # of a file; shipped recipes have up to 4,000
_MAX_LEVELS = 50
# Which plain scalars are not text, by the core schema of YAML 1.2: unlike in YAML 1.1, 0100 is a
# hundred, and 1:40, on and 1_000 are text. 0o17, 0x1f and numbers of over 40 digits are text, too.
_SCALARS = (
    (r"null|Null|NULL|~|", lambda text: None),
    (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    (r"[-+]?[0-9]{1,40}", int),
    (r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,9})?", float),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def parse(text: str, source: str) -> Any:
    """Reads settings: dictionaries, lists, text, numbers, booleans and None.

    Args:
        text: A document of YAML 1.2 without aliases and tags.
        source: What an error names first.

    Raises:
        UserError: If it is not valid, has a name twice in one section, control characters or more
            than 50 levels; the sentence names the line.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _value(node)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # \Uffffffff is an OverflowError
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        where = f"line {mark.line + 1}" if mark else "it"
        raise UserError(
            f"{source}: {where} is not valid YAML ({shortened(reason, 200)}).") from None


def write(tree: dict[str, Any]) -> str:
    """Writes settings in a form that `parse`, and a reader of YAML 1.1, too, reads back equal."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False)


class _Loader(yaml.BaseLoader):
    """Refuses what `parse` does not read, before it takes memory."""

    _levels = 0

    def compose_node(self, parent, index):
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise _problem("aliases (*) and tags (!) are not read; write the value out, or quote "
                           "the text", event)
        self._levels += 1
        if self._levels > _MAX_LEVELS:
            raise _problem(f"there are more than {_MAX_LEVELS} levels", event)
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Also quotes text that looks like a number in YAML 1.2 only, such as 1e-4 and 08."""

    def ignore_aliases(self, data):
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(
    "(" + "|".join(pattern for pattern, _ in _SCALARS) + r")\Z"), None)


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(part) for part in node.value]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    tree, lines = {}, {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem("a name is text", key)
        if key.value in lines:
            raise _problem(f"`{shortened(key.value)}` is already in line {lines[key.value]}; keep "
                           "one of them", key)
        lines[key.value] = key.start_mark.line + 1
        tree[_scalar(key)] = _value(value)
    return tree


def _scalar(node: yaml.ScalarNode) -> Any:
    if _CONTROL.search(node.value):
        raise _problem("it has characters that are no text", node)
    if node.style is None:  # not quoted
        for pattern, read in _SCALARS:
            if re.fullmatch(pattern, node.value):
                return read(node.value)
    return node.value


def _problem(words: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=words, problem_mark=place.start_mark)
