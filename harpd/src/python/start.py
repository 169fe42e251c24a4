# The module is imported, harpd is told, and calls are served.


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
