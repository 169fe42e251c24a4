# What a module that was written for Python 2 uses and this Python has not, so that it is
# known before a call finds out. Comes before the text of shim.py.

import ast
import builtins

# Names, and what stands for them now.
GONE_NAMES = {
    "basestring": "str",
    "buffer": "memoryview",
    "cmp": "(a > b) - (a < b)",
    "execfile": "exec(open(...).read())",
    "file": "open",
    "long": "int",
    "raw_input": "input",
    "reduce": "functools.reduce",
    "reload": "importlib.reload",
    "unichr": "chr",
    "unicode": "str",
    "xrange": "range",
}
GONE_METHODS = {
    "has_key": "in",
    "iteritems": "items",
    "iterkeys": "keys",
    "itervalues": "values",
}
OF_PYTHON_2 = "; a module that was written for Python 2 is made new by 2to3(1)"


def python_2_in(source, defined):
    """Lines that say where the source uses what is gone. A name that the module defines
    itself, anywhere, is its own."""
    tree = ast.parse(source)
    defined = set(defined)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            defined.add(node.id)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.alias):
            defined.add(node.asname or node.name)
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            name, now = node.id, GONE_NAMES.get(node.id)
            if name in defined or hasattr(builtins, name):
                continue
        elif isinstance(node, ast.Attribute):
            name, now = node.attr, GONE_METHODS.get(node.attr)
            if name in defined:
                continue
        else:
            continue
        if now is not None:
            found.setdefault((name, now), node.lineno)
    return [
        "line %d: %s was of Python 2, now it is %s" % (line, name, now)
        for (name, now), line in sorted(found.items(), key=lambda entry: entry[1])
    ]
