# Runs the procedures of a Python module for harpd. harpd gives this text, behind that of
# python2.py and before that of the files beside it, to the interpreter on standard input, with
# the module's path as the only argument.
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
