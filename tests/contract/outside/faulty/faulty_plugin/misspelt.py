"""Implements a hook that there is not, one for each group."""

from launcher_core import hookimpl


class Rendezvous:
    @hookimpl
    def launcher_make_rendevous(self):
        return None


class Stores:
    @hookimpl
    def launcher_make_stores(self):
        return None


class LogsSpecs:
    @hookimpl
    def launcher_make_log_specs(self):
        return None


class StartMethods:
    @hookimpl
    def launcher_make_start(self):
        return None


class EventRecorders:
    @hookimpl
    def launcher_make_recoder(self):
        return None


class Policies:
    @hookimpl
    def launcher_admitt(self):
        return None


rendezvous = Rendezvous()
stores = Stores()
logs_specs = LogsSpecs()
start_methods = StartMethods()
event_recorders = EventRecorders()
policies = Policies()
