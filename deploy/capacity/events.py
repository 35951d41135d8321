"""A run of quantctl against replicas of quantd, event by event: what waits for what, and for how long.

As in the programs themselves:
- The client has `in_flight` jobs under way, begins the next one when one is written, and gives its calls to the
  replicas in turn.
- A replica reserves a job's predicted peak before it reads the upload. Who finds no room waits in line, behind who came
  first; full lines and long waits are refused, and the client comes back, to the next replica, after the time told.
- Uploaded jobs get the replica's cores first come first served: threads help the running job before they begin another.

An upload is done when the slowest of the client's disk, its link and the replica's connection has moved its bytes.
Each serves one job after the other: with many under way that is as fast as sharing, and easier to follow. Results go
back the same way.
"""

import collections
import dataclasses

from stations import Clock, Line, Station, use_all

MAX_QUEUED_JOBS = 64
QUEUE_TIMEOUT = 600.0
QUEUE_BUDGETS = 4  # --max-queued-bytes, in budgets
LEAST_PUSHBACK, MOST_PUSHBACK, NEWEST = 0.25, 60.0, 0.2
# What a replica's time goes to.
COMPUTE, TRANSFER, MEMORY, CLIENT, LAST = "compute", "transfer", "memory", "client", "last"


@dataclasses.dataclass(frozen=True)
class Job:
    input: float  # bytes
    output: float
    peak: float
    work: float  # core-seconds


@dataclasses.dataclass(frozen=True)
class Cluster:
    replicas: int
    cores: float  # of one replica
    budget: float  # bytes of one replica
    link: float  # bytes a second, each way, of the client
    connection: float  # the same of one replica
    disk: float  # bytes a second that the client reads and writes together
    in_flight: int
    host_cores: float = 0  # all replicas on one machine of so many cores; 0: each on its own


@dataclasses.dataclass(frozen=True)
class Outcome:
    seconds: float
    link: float  # utilisation, 0..1
    disk: float
    compute: float
    causes: dict  # share of the replicas' time, sums to 1
    refused: int


class Replica:
    def __init__(self, run, cluster):
        clock = run.clock
        self.run = run
        self.budget = cluster.budget
        self.cores = Line(clock, cluster.cores)
        self.receive = Line(clock, cluster.connection)
        self.send = Line(clock, cluster.connection)
        self.reserved = 0.0
        self.admitted = 0
        self.waiting = collections.deque()  # (job, since)
        self.ready = collections.deque()
        self.running = False
        self.causes = collections.Counter()
        self._held = 0.0
        self._since = 0.0
        self._cause = CLIENT

    def note(self):
        """Writes the time since the last call to what the replica did in it. Before each change and after."""
        now = self.run.clock.now
        self.causes[self._cause] += now - self._since
        self._since = now
        if self.running:
            self._cause = COMPUTE
        elif self.waiting:
            self._cause = MEMORY
        elif self.admitted:
            self._cause = TRANSFER
        else:
            self._cause = CLIENT if self.run.unsent else LAST

    def offer(self, job):
        now = self.run.clock.now
        if not self.waiting and self.reserved + job.peak <= self.budget:
            self._admit(job)
        elif self._full(job):
            self.run.refuse(job, self._pushback())
        else:
            entry = (job, now)
            self.waiting.append(entry)
            self.run.clock.at(now + QUEUE_TIMEOUT, lambda: self._time_out(entry))
        self.note()

    def _waiting_bytes(self):
        return sum(job.peak for job, _ in self.waiting)

    def _full(self, job):
        if len(self.waiting) >= MAX_QUEUED_JOBS:
            return True
        return bool(self.waiting) and self._waiting_bytes() + job.peak > QUEUE_BUDGETS * self.budget

    def _pushback(self):
        seconds = self._held * (1 + self._waiting_bytes() / self.budget) / 2
        return min(max(seconds, LEAST_PUSHBACK), MOST_PUSHBACK)

    def _time_out(self, entry):
        place = next((at for at, one in enumerate(self.waiting) if one is entry), None)
        if place is None:
            return
        del self.waiting[place]
        self.run.refuse(entry[0], self._pushback())
        self._let_in()
        self.note()

    def _let_in(self):
        while self.waiting and self.reserved + self.waiting[0][0].peak <= self.budget:
            self._admit(self.waiting.popleft()[0])

    def _admit(self, job):
        self.reserved += job.peak
        self.admitted += 1
        since = self.run.clock.now
        self.run.upload(self, job, lambda: self._uploaded(job, since))

    def _uploaded(self, job, since):
        self.ready.append((job, since))
        self._start()
        self.note()

    def _start(self):
        if self.running or not self.ready:
            return
        self.running = True
        job, since = self.ready.popleft()
        use_all([(self.cores, job.work), *self.run.on_host(job.work)], lambda: self._computed(job, since))

    def _computed(self, job, since):
        self.running = False
        self.run.give_back(self, job, lambda: self._delivered(job, since))
        self._start()
        self.note()

    def _delivered(self, job, since):
        held = self.run.clock.now - since
        self._held = held if self._held == 0 else (1 - NEWEST) * self._held + NEWEST * held
        self.reserved -= job.peak
        self.admitted -= 1
        self._let_in()
        self.note()
        self.run.finish()


class Run:
    def __init__(self, jobs, cluster):
        self.clock = Clock()
        self.unsent = collections.deque(jobs)
        self._cluster = cluster
        self._disk = Line(self.clock, cluster.disk)
        self._out = Line(self.clock, cluster.link)
        self._in = Line(self.clock, cluster.link)
        self._host = Station(self.clock, cluster.host_cores) if cluster.host_cores else None
        self._replicas = [Replica(self, cluster) for _ in range(cluster.replicas)]
        self._turn = 0
        self._seconds = 0.0
        self._refused = 0
        self._count = len(jobs)

    def outcome(self):
        for _ in range(min(self._cluster.in_flight, self._count)):
            self._begin()
        self.clock.run()
        causes = collections.Counter()
        for replica in self._replicas:
            self.clock.now = self._seconds  # time-outs of lines left long ago may come later
            replica.note()
            causes.update(replica.causes)
        whole = self._seconds * len(self._replicas)
        receiving = max(replica.receive.served for replica in self._replicas) / self._cluster.connection
        return Outcome(
            seconds=self._seconds,
            link=max(self._out.served / self._cluster.link, receiving) / self._seconds,
            disk=self._disk.served / self._cluster.disk / self._seconds,
            compute=sum(replica.cores.served for replica in self._replicas) / (self._cluster.cores * whole),
            causes={cause: seconds / whole for cause, seconds in sorted(causes.items())}, refused=self._refused)

    def _begin(self):
        self._send(self.unsent.popleft())
        if not self.unsent:
            for replica in self._replicas:
                replica.note()  # from now on an idle replica stays so

    def _send(self, job):
        replica = self._replicas[self._turn % len(self._replicas)]
        self._turn += 1
        replica.offer(job)

    def refuse(self, job, pushback):
        self._refused += 1
        self.clock.at(self.clock.now + pushback, lambda: self._send(job))

    def finish(self):
        self._seconds = self.clock.now
        if self.unsent:
            self._begin()

    def on_host(self, work):
        return [(self._host, work)] if self._host else []

    def upload(self, replica, job, done):
        use_all([(self._disk, job.input), (self._out, job.input), (replica.receive, job.input)], done)

    def give_back(self, replica, job, done):
        use_all([(self._disk, job.output), (self._in, job.output), (replica.send, job.output)], done)


def simulate(jobs, cluster):
    """The outcome of a run; ValueError for a job that no replica can ever take."""
    for job in jobs:
        if job.peak > cluster.budget:
            raise ValueError(f"a job needs {job.peak:.0f} bytes, more than a replica's budget of {cluster.budget:.0f}")
    return Run(jobs, cluster).outcome()
