# A process for each call, below a keeper of its own.


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
