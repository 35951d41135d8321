"""From what was asked and measured to a simulated run, and the one word for what held it up."""

import dataclasses
import functools

import events
from models import METHODS

GIB, MIB = 1 << 30, 1 << 20
MOST_IN_FLIGHT = 256  # the largest --jobs of quantctl
SATURATED = 0.75

LETTERS = {
    "C": "the replicas' cores",
    "N": "the network: the client's link, or the one connection that it has to a replica",
    "D": "the client's disk",
    "M": "memory: jobs wait for admission while cores idle",
    "J": "the client: what it has in flight waits elsewhere, while other replicas have nothing to do",
    "L": "the last and longest layers: nothing is left for the other replicas",
    "S": "the client's first look at the statistics, before any job",
}
CAUSES = {events.COMPUTE: "C", events.MEMORY: "M", events.CLIENT: "J", events.LAST: "L"}


@dataclasses.dataclass(frozen=True)
class Site:
    """What the deployment has; the defaults are the page's."""

    cores: float = 16
    memory: float = 32  # GiB of a replica
    disk: float = 6  # GB/s of the client
    jobs: int = 4  # in flight for each replica
    price: float = 0.70  # of a replica-hour

    def budget(self):
        """As quantd takes it from its memory limit: three quarters less the transport's share and kept buffers."""
        return self.memory * GIB * 3 / 4 - (448 + 256) * MIB


@dataclasses.dataclass(frozen=True)
class Cell:
    hours: float
    letter: str
    cost: float
    outcome: events.Outcome


class Rates:
    """What rates.json holds."""

    def __init__(self, stored):
        self.stored = stored

    def job(self, method, shape):
        found = self.stored["requests"][method][shape.key()]
        work = found["seconds"] * self.stored["server"]["threads"]
        wire = self.stored["wire"]["server_seconds_per_gb"] * (found["input"] + found["output"]) / 1e9
        return events.Job(input=found["input"], output=found["output"], peak=found["peak"], work=work + wire)

    def jobs(self, model, method):
        """In the order in which the client sends them: the longest first, equal ones in the order of the names."""
        known = functools.lru_cache(maxsize=None)(lambda shape: self.job(method, shape))
        seconds = self.stored["requests"][method]
        shapes = sorted(model.shapes(method), key=lambda shape: -seconds[shape.key()]["seconds"])
        return [known(shape) for shape in shapes]

    def first_look(self, model, method, disk):
        """Seconds until the client has read all statistics once, to see which modules share theirs."""
        if not METHODS[method]["statistics"]:
            return 0.0
        stored = self.stored["requests"][method]
        bytes_read = sum(count * stored[shape.key()]["statistics"] for shape, count in model.distinct(method).items())
        return bytes_read / min(disk * 1e9, self.stored["client"]["statistics_gb_per_second"] * 1e9)


def letter_of(outcome, first_look, link_is_slower):
    whole = outcome.seconds + first_look
    if first_look > whole / 2:
        return "S"
    use = {"C": outcome.compute, "N": outcome.link, "D": outcome.disk}
    busiest = max(use, key=use.get)
    if use[busiest] >= SATURATED:
        return busiest
    idle = {cause: share for cause, share in outcome.causes.items() if cause != events.COMPUTE}
    idle_cause = max(idle, key=idle.get)
    if idle_cause == events.TRANSFER:
        return "N" if link_is_slower else "D"
    return CAUSES[idle_cause]


def run(rates, site, model, method, replicas, gbits):
    link = gbits * 1e9 / 8
    connection = min(link, rates.stored["wire"]["connection_gb_per_second"] * 1e9)
    cluster = events.Cluster(replicas=replicas, cores=site.cores, budget=site.budget(), link=link,
                             connection=connection, disk=site.disk * 1e9,
                             in_flight=min(MOST_IN_FLIGHT, site.jobs * replicas))
    outcome = events.simulate(rates.jobs(model, method), cluster)
    first_look = rates.first_look(model, method, site.disk)
    hours = (outcome.seconds + first_look) / 3600
    return Cell(hours=hours, letter=letter_of(outcome, first_look, connection < site.disk * 1e9),
                cost=hours * replicas * site.price, outcome=outcome)
