"""Forgot to mark its functions."""


def launcher_make_rendezvous(params, store):
    return None


def launcher_make_store(params):
    return None


def launcher_make_logs_specs(config):
    return None


def launcher_make_starter():
    return None


def launcher_make_recorder(argument, log_dir):
    return None


def launcher_make_watch(config):
    return None
