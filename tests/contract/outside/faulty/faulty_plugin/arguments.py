"""Takes an argument that the hook does not have, one for each group."""

from launcher_core import hookimpl


class Rendezvous:
    @hookimpl
    def launcher_make_rendezvous(self, cfg):
        return None


class Stores:
    @hookimpl
    def launcher_make_store(self, cfg):
        return None


class LogsSpecs:
    @hookimpl
    def launcher_make_logs_specs(self, cfg):
        return None


class StartMethods:
    @hookimpl
    def launcher_make_starter(self, cfg):
        return None


class EventRecorders:
    @hookimpl
    def launcher_make_recorder(self, cfg):
        return None


class Policies:
    @hookimpl
    def launcher_make_watch(self, cfg):
        return None


rendezvous = Rendezvous()
stores = Stores()
logs_specs = LogsSpecs()
start_methods = StartMethods()
event_recorders = EventRecorders()
policies = Policies()
