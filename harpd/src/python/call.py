# One call, in its process: from the request to the answer.


def run_call(procedures, stdin, answer, printed):
    os.dup2(stdin, 0)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.close(stdin)
    os.close(printed)
    with open(0, "rb", closefd=False) as pipe:
        request = pipe.read()
    if not request:
        # Given up before it began.
        return
    begin_clean_up()
    try:
        call = Call(answer)
        try:
            request = json.loads(request)
        except (ValueError, RecursionError) as error:
            # JSON it is; but Python has limits of its own, as for the length of numbers.
            call.error("invalid_argument_list", "Python cannot read the arguments: %s" % error)
            return
        call.run(request, procedures)
        # As at the end of any interpreter: threads are waited for, buffers written.
        threading._shutdown()
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                # The procedure has closed it, or put something else in its place.
                pass


def begin_clean_up():
    """What the module has registered for the end is for the end of the server. What the
    library has registered cleans up what a call makes, and must not touch what was made
    before it."""
    atexit._clear()
    atexit.register = _register
    finalize = weakref.finalize
    finalize._registry.clear()
    finalize._registered_with_atexit = False
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes._children = set()
    finalizers = sys.modules.get("multiprocessing.util")
    if finalizers is not None:
        finalizers._finalizer_registry.clear()
    for function, args, kwargs in REGISTERED:
        of = getattr(function, "__module__", None) or ""
        # It registers itself for the first thing that is to be finalized.
        if of.partition(".")[0] in LIBRARY_MODULES and of != "weakref":
            _register(function, *args, **kwargs)


class Call:
    """One call in its own process."""

    def __init__(self, answer):
        self.answer = answer

    def run(self, request, procedures):
        name = request["procedure"]
        for variable in ("procedure", "user", "peer"):
            os.environ["HARP_" + variable.upper()] = request[variable]
        for key, variable in (("job", "HARP_JOB"), ("traceparent", "TRACEPARENT")):
            if key in request:
                os.environ[variable] = request[key]
        target = procedures.get(name)
        if target is None:
            # The module was imported again, after the server had ended.
            data = {"procedure": name}
            return self.error("no_such_procedure", "the module has no such procedure now", data)
        try:
            drop_privileges(target.uid, target.gid)
            give_up_capabilities()
        except (OSError, LookupError, ValueError) as error:
            message = "cannot run procedure %s as its uid and gid say: %s" % (name, error)
            return self.error("system_error", message)
        try:
            self.answer_of(name, target, request["arguments"])
        except BaseException as error:
            traceback.print_exc()
            kind = type(error)
            data = {"class": kind.__name__, "module": kind.__module__}
            self.send(
                {"exception": {"type": kind.__name__, "message": text_of(error), "data": data}}
            )

    def answer_of(self, name, target, arguments):
        positional, named = ([], arguments) if isinstance(arguments, dict) else (arguments, {})
        is_streaming = streams(target)
        if isinstance(target, type):
            target = target()
        signature = inspect.signature(target)
        try:
            signature.bind(*positional, **named)
        except TypeError as error:
            message = "%s%s: %s" % (name, signature, error)
            return self.error("invalid_argument_list", message)
        try:
            value = target(*positional, **named)
        except SystemExit as end:
            value = returned_by(end)
        if is_streaming:
            value = self.stream(target, value)
        if isinstance(value, Result):
            value = value.value
        self.send({"result": value})

    def stream(self, target, packets):
        """Sends the packets; returns what is the result."""
        if isinstance(packets, Result):
            return packets
        returned = None
        if packets is not None:
            iterator = iter(packets)
            while True:
                try:
                    packet = next(iterator)
                except StopIteration as end:
                    returned = end.value
                    break
                except SystemExit as end:
                    returned = returned_by(end)
                    break
                if isinstance(packet, Result):
                    if hasattr(iterator, "close"):
                        iterator.close()
                    return packet
                self.send({"stream": packet})
        return target.result() if returned is None else returned

    def error(self, kind, message, data=None):
        error = {"type": kind, "message": message}
        if data is not None:
            error["data"] = data
        self.send({"harp": 1, "error": error})

    def send(self, message):
        text = json.dumps(message, allow_nan=False, separators=(",", ":"))
        rest = memoryview(text.encode() + b"\n")
        while rest:
            rest = rest[os.write(self.answer, rest) :]


def returned_by(end):
    """A successful sys.exit is a return; another is an exception as any."""
    if end.code is None or end.code == 0:
        return None
    raise end


def text_of(error):
    try:
        return str(error)
    except Exception:
        return "an exception that cannot be shown"
