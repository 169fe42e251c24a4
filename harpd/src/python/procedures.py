# What the module exposes, and what it says of itself.


class Result:
    """What a streaming procedure returns, yielded after its packets."""

    def __init__(self, value=None):
        self.value = value


class Procedure:
    """A procedure. A subclass says what it does in __call__, and may set its options."""

    timeout = None
    uid = None
    gid = None

    def __call__(self, *args, **kwargs):
        raise NotImplementedError("a procedure must have a method __call__")


class StreamingProcedure(Procedure):
    """A procedure whose __call__ yields packets."""

    def result(self):
        """What the call returns if no Result is yielded and nothing returned."""
        return None


class _FunctionProcedure(Procedure):
    def __init__(self, function, timeout=None, uid=None, gid=None):
        functools.update_wrapper(self, function)
        self.function = function
        self.timeout = timeout
        self.uid = uid
        self.gid = gid

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)


class _StreamingFunctionProcedure(_FunctionProcedure, StreamingProcedure):
    pass


def procedure(function=None, *, timeout=None, uid=None, gid=None):
    """Makes a procedure of a function: @procedure or @procedure(timeout=60)."""
    return _decorate(_FunctionProcedure, function, timeout, uid, gid)


def streaming_procedure(function=None, *, timeout=None, uid=None, gid=None):
    """The same for a function that yields packets."""
    return _decorate(_StreamingFunctionProcedure, function, timeout, uid, gid)


def _decorate(kind, function, timeout, uid, gid):
    def decorator(function):
        if not callable(function):
            raise TypeError("a procedure must be a function, not %r" % (function,))
        return kind(function, timeout=timeout, uid=uid, gid=gid)

    return decorator if function is None else decorator(function)


def provide_package():
    """Lets modules import harpd.proc, which is in no file."""
    package = types.ModuleType("harpd", "Procedures of harpd.")
    package.__path__ = []
    package.proc = types.ModuleType("harpd.proc", "What a module of procedures needs.")
    public = [Procedure, StreamingProcedure, Result, procedure, streaming_procedure]
    for thing in public:
        thing.__module__ = "harpd.proc"
        setattr(package.proc, thing.__name__, thing)
    package.proc.__all__ = [thing.__name__ for thing in public]
    sys.modules["harpd"] = package
    sys.modules["harpd.proc"] = package.proc


def load(path):
    """Imports the module and returns its procedures by name."""
    sys.path.insert(0, os.path.dirname(path))
    # Bytecode of an earlier state of the file must not be taken for this one's, and
    # nobody expects files to appear beside a configuration.
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None:
        raise ImportError("not the name of a Python file, which ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    spec.loader.exec_module(module)
    return exposed(vars(module))


def exposed(names):
    """The procedures among a module's variables: objects and, unless it also has an
    object of them, classes. Names that begin with _ are the module's own."""
    found = {}
    for name, value in names.items():
        if isinstance(value, Procedure) and not name.startswith("_"):
            found[name] = value
    instantiated = {type(value) for value in found.values()}
    for name, value in names.items():
        is_class = isinstance(value, type) and issubclass(value, Procedure)
        if not is_class or name.startswith("_") or value in instantiated:
            continue
        if value.__call__ is not Procedure.__call__ and needs_nothing(value):
            found[name] = value
    for name, value in found.items():
        check_options(name, value)
    return found


def needs_nothing(kind):
    """Whether an object of the class can be made without arguments."""
    try:
        inspect.signature(kind).bind()
    except (TypeError, ValueError):
        return False
    return not inspect.isabstract(kind)


def check_options(name, value):
    timeout = value.timeout
    if timeout is not None:
        is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
        if not is_number or not 0 < timeout <= 315360000:
            raise ValueError(
                "procedure %s: timeout must be a number of seconds, not %r" % (name, timeout)
            )
    for option, number in (("uid", value.uid), ("gid", value.gid)):
        several = number if option == "gid" and isinstance(number, (list, tuple)) else [number]
        for one in several:
            is_name = isinstance(one, str) and one
            is_integer = isinstance(one, int) and not isinstance(one, bool)
            if is_name and one.isdecimal():
                is_name, is_integer, one = False, True, int(one)
            if one is not None and not is_name and not (is_integer and 0 <= one < UNCHANGED):
                raise ValueError(
                    "procedure %s: %s must be a name or a number below %d, not %r"
                    % (name, option, UNCHANGED, number)
                )


def streams(value):
    kind = value if isinstance(value, type) else type(value)
    return issubclass(kind, StreamingProcedure)


def documented(value):
    """What a procedure says of itself, if it does."""
    text = getattr(value, "__doc__", None)
    is_own = text not in (Procedure.__doc__, StreamingProcedure.__doc__)
    return inspect.cleandoc(text) if isinstance(text, str) and is_own else None


def arguments_schema(value):
    """What can be called so, by names and numbers; what types there are is the function's to
    say when it is called."""
    try:
        if isinstance(value, type):
            # Without its object, which is made for each call.
            parameters = list(inspect.signature(value.__call__).parameters.values())[1:]
        else:
            parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return {}
    kinds = [parameter.kind for parameter in parameters]
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [parameter for parameter in parameters if parameter.default is parameter.empty]
    ways = []
    if not any(parameter.kind == inspect.Parameter.KEYWORD_ONLY for parameter in needed):
        array = {
            "type": "array",
            "minItems": sum(parameter.kind in by_place for parameter in needed),
        }
        if inspect.Parameter.VAR_POSITIONAL not in kinds:
            array["maxItems"] = sum(kind in by_place for kind in kinds)
        ways.append(array)
    if not any(parameter.kind == inspect.Parameter.POSITIONAL_ONLY for parameter in needed):
        named = [parameter for parameter in parameters if parameter.kind in by_name]
        ways.append(
            {
                "type": "object",
                "properties": {parameter.name: {} for parameter in named},
                "required": [p.name for p in needed if p.kind in by_name],
                "additionalProperties": inspect.Parameter.VAR_KEYWORD in kinds,
            }
        )
    return {"anyOf": ways} if ways else False


def described(error):
    """An exception of the import in one line, with the place in the module if it has
    one."""
    text = traceback.format_exception_only(type(error), error)[-1].strip()
    if isinstance(error, SyntaxError):
        place = " (%s, line %s)" % (error.filename, error.lineno)
        return text + place + OF_PYTHON_2
    if isinstance(error, (NameError, ImportError)):
        text += OF_PYTHON_2
    places = traceback.extract_tb(error.__traceback__)
    places = [place for place in places if os.path.isabs(place.filename)]
    if not places:
        return text
    return "%s (%s, line %s)" % (text, places[-1].filename, places[-1].lineno)


def suspicious(path):
    """What is there but will not work when it is called."""
    try:
        with open(path, "rb") as file:
            return python_2_in(file.read(), vars(sys.modules[MODULE_NAME]))
    except (OSError, SyntaxError, ValueError, RecursionError):
        # It has just been imported; whatever this is, it is no reason to do without it.
        return []
