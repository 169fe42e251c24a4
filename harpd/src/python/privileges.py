# Becoming the user of a call.


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
