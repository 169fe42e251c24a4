# Runs the procedures of a Python module for harpd. harpd gives this text, behind that of
# python2.py, to the interpreter on standard input, with the module's path as the only argument.
#
# Standard output is a Unix socket to harpd. When the module has been imported, one line
# of JSON goes out on it: the procedures and what looks wrong, or why there are none. Then each byte that comes
# asks for one call: with it come the call's standard input, the pipe for its answer, the
# pipe for what it prints and that for the reports of its keeper. The answer is the number
# of the keeper, on a line of its own. The end of the socket is the end of this server.
#
# The keeper of a call is the grandchild of this process and, since its parent ends at once,
# a child of harpd, which reaps it. It does what `harp_exec::keeper` does for other
# programs: whatever descends from the call stays below it, and it reports when nothing of
# that is left. The process of the call is its child. It begins when it has read from its
# standard input, to the end, who calls what. It answers with lines of the host protocol.

import sys

# For a program on standard input, Python looks for modules in the directory it starts in
# first, where anything may be: what is imported here is the library's.
sys.path[:] = [entry for entry in sys.path if entry]

import array
import atexit

REGISTERED = []
_register = atexit.register


def register(function, *args, **kwargs):
    """Registers for the end of the interpreter, and remembers it."""
    REGISTERED.append((function, args, kwargs))
    return _register(function, *args, **kwargs)


# Before anything that registers itself is imported.
atexit.register = register

import ctypes
import functools
import gc
import importlib.util
import inspect
import json
import os
import pwd
import grp
import signal
import socket
import struct
import threading
import traceback
import types
import weakref

MODULE_NAME = "__harpd__"
# To the system this is no user or group: "as before".
UNCHANGED = 2**32 - 1
# Of prctl(2).
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
LIBRARY = ctypes.CDLL(None, use_errno=True)
# Of capget(2): the version of the sets, and effective, permitted and inheritable ones twice.
CAPABILITY_HEADER = struct.Struct("=Ii")
CAPABILITY_VERSION = 0x20080522
CAPABILITY_SETS = struct.Struct("=6I")
# Whose clean-up is of use to a call. Python has told their names since 3.10.
LIBRARY_MODULES = getattr(sys, "stdlib_module_names", ("logging", "multiprocessing"))
# What a keeper reports: two numbers each.
REPORT = struct.Struct("=ii")
STARTED, ENDED, NOTHING_LEFT = 1, 2, 3


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


def serve(control, procedures):
    while True:
        space = socket.CMSG_SPACE(3 * array.array("i").itemsize)
        byte, ancillary, _, _ = control.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
        if not byte:
            return
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        try:
            number = start(control, procedures, descriptors)
            answer = {"pid": number}
        except (OSError, ValueError) as error:
            answer = {"error": str(error)}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        control.sendall(json.dumps(answer).encode() + b"\n")


def start(control, procedures, descriptors):
    """Forks twice. Returns the number of the call's keeper when that is the leader of a
    session of its own, and a child of harpd."""
    if len(descriptors) != 4:
        raise ValueError("%d descriptors came, not 4" % len(descriptors))
    telling, told = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.fork() == 0:
                os.setsid()
                os.close(telling)
                control.close()
                keep(told, procedures, *descriptors)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            # Whatever happened: nothing of the server may go on in it.
            os._exit(status)
    os.close(told)
    with open(telling, "rb") as pipe:
        number = pipe.read()
    os.waitpid(child, 0)
    if not number:
        raise OSError("cannot fork")
    return int(number)


def keep(told, procedures, stdin, answer, printed, reports):
    """Has a child run the call, and waits until nothing is left that descends from it."""
    if LIBRARY.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    call = os.fork()
    if call == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        os.setsid()
        os.close(told)
        os.close(reports)
        run_call(procedures, stdin, answer, printed)
        return
    os.write(told, b"%d" % os.getpid())
    os.closerange(0, reports)
    os.closerange(reports + 1, max(told, stdin, answer, printed) + 1)
    report(reports, STARTED, call)
    while True:
        try:
            number, status = os.wait()
        except ChildProcessError:
            break
        if number == call:
            report(reports, ENDED, status)
    report(reports, NOTHING_LEFT, 0)


def report(reports, kind, value):
    try:
        os.write(reports, REPORT.pack(kind, value))
    except OSError:
        # harpd is gone.
        pass


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


def drop_privileges(uid, gid):
    """Takes on a user with its groups, or a group, or both."""
    named = list(gid) if isinstance(gid, (list, tuple)) else [gid]
    groups = [group_number(one) for one in named if one is not None]
    if uid is None and not groups:
        return
    if uid is not None:
        number, login, own_group = user_entry(uid)
        if not groups:
            if own_group is None:
                raise LookupError("the uid %s is no user's, so it needs a gid" % uid)
            groups = [own_group]
        if login is not None:
            groups += os.getgrouplist(login, groups[0])
    for stream in range(3):
        try:
            # Who could not open /dev/stdout otherwise.
            os.fchown(stream, -1 if uid is None else number, groups[0])
        except OSError:
            pass
    set_groups(list(dict.fromkeys(groups)), groups[0])
    if uid is not None and login is not None:
        user = pwd.getpwnam(login)
        os.environ.update(HOME=user.pw_dir, USER=login, LOGNAME=login)
        if user.pw_shell:
            os.environ["SHELL"] = user.pw_shell
    if uid is not None and os.getresuid() != (number,) * 3:
        os.setresuid(number, number, number)
        if os.getresuid() != (number,) * 3:
            raise OSError("the user is not %d after the change" % number)


def give_up_capabilities():
    """Leaves the process those capabilities that root has anyway, and another user none."""
    errno = ctypes.get_errno
    if LIBRARY.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0:
        # A kernel that does not know the set has none.
        if errno() != 22:
            raise OSError(errno(), "cannot clear ambient capabilities")
    before = capabilities()
    is_root = os.geteuid() == 0
    # Every third set is the inheritable one.
    wanted = [one if is_root and at % 3 != 2 else 0 for at, one in enumerate(before)]
    if wanted == before:
        return
    header = CAPABILITY_HEADER.pack(CAPABILITY_VERSION, 0)
    if LIBRARY.capset(header, CAPABILITY_SETS.pack(*wanted)) != 0:
        raise OSError(errno(), "cannot give up capabilities")
    if capabilities() != wanted:
        raise OSError("the capabilities are not gone after the change")


def capabilities():
    header = CAPABILITY_HEADER.pack(CAPABILITY_VERSION, 0)
    sets = ctypes.create_string_buffer(CAPABILITY_SETS.size)
    if LIBRARY.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "cannot read capabilities")
    return list(CAPABILITY_SETS.unpack(sets.raw))


def set_groups(groups, first):
    if os.getresgid() != (first,) * 3 or set(os.getgroups()) | {first} != set(groups):
        os.setgroups(groups)
        os.setresgid(first, first, first)
        if os.getresgid() != (first,) * 3:
            raise OSError("the group is not %d after the change" % first)


def user_entry(uid):
    """Number, login name and primary group; of a number that is no user's, the number."""
    if isinstance(uid, str):
        try:
            user = pwd.getpwnam(uid)
            return user.pw_uid, user.pw_name, user.pw_gid
        except KeyError:
            if not uid.isdecimal():
                raise LookupError("there is no user %s" % uid) from None
            uid = int(uid)
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return uid, None, None
    return uid, user.pw_name, user.pw_gid


def group_number(gid):
    if isinstance(gid, int):
        return gid
    try:
        return grp.getgrnam(gid).gr_gid
    except KeyError:
        if gid.isdecimal():
            return int(gid)
        raise LookupError("there is no group %s" % gid) from None


def main():
    control = socket.socket(fileno=os.dup(1))
    # What is printed from here on is for the log.
    os.dup2(2, 1)
    path = sys.argv[1]
    sys.argv = [path]
    # Was for the start of the interpreter, is not for what procedures start.
    os.environ.pop("PYTHONCOERCECLOCALE", None)
    provide_package()
    procedures = {}
    try:
        procedures = load(path)
        listed = [
            {
                "name": name,
                "stream": streams(value),
                "timeout": value.timeout,
                "description": documented(value),
                "arguments_schema": arguments_schema(value),
            }
            for name, value in procedures.items()
        ]
        hello = {"imported": {"procedures": listed, "warnings": suspicious(path)}}
    except BaseException as error:
        traceback.print_exc()
        hello = {"error": described(error)}
    control.sendall(json.dumps(hello).encode() + b"\n")
    if "error" in hello:
        sys.exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    # What is there now is shared with all calls, as long as nothing writes to it.
    gc.collect()
    gc.freeze()
    serve(control, procedures)


main()
