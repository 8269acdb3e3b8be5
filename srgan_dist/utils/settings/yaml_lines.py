"""Line numbers of keys in YAML and JSON files, for error messages."""

from collections.abc import Sequence

import yaml


def line_of(content: bytes, path: Sequence[str | int]) -> int | None:
    """Return the line of a key or list item, counted from 1, or that of the last part of its path that exists.

    Return None if the content is not a YAML mapping.

    Args:
        content: A file that `untrusted.parse_yaml` has accepted.
        path: The keys and indices that lead to it.
    """
    node, line = yaml.compose(content, yaml.SafeLoader), None
    for part in path:
        found = _child(node, part)
        if found is None:
            break
        line, node = found
    return line


def repeated_key(content: bytes) -> tuple[str, int] | None:
    """Return a key that occurs twice in the same section and the line of its second occurrence; None without one."""
    waiting = [yaml.compose(content, yaml.SafeLoader)]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            for number, (key, value) in enumerate(node.value):
                if isinstance(key, yaml.ScalarNode) and key.value in keys[:number]:
                    return str(key.value), key.start_mark.line + 1
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return None


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """Return the line of a key or an item, and its value."""
    if isinstance(node, yaml.MappingNode):
        pairs = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == part)
        return next(pairs, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None
