"""Several replicas behind one name: spread, rolling restart, scale-up, lost and frozen replicas, proxies in front."""

import shutil
import signal
import socket
import tempfile
import time
import unittest

from fleet import Fleet, Load, Run, Work, assert_whole, busy, done_jobs, log_line, without_server
from harness import Child, DeployTest, free_port, need, wait_until

PRE_STOP_SECONDS = 1
MIN_READY_SECONDS = 2
CONNECTION_AGE = 2
RESOLUTION_SECONDS = 2  # the client's least time between two looks at a name
# The client's keepalive (20 s, then 10 s for the answer), and the work itself.
FROZEN_SECONDS = 90
SLACK_SECONDS = 15  # a busy machine; with gRPC's own 30 s between two looks the test still fails


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Replicas(DeployTest):
    @classmethod
    def setUpClass(cls):
        """What most tests quantize, and the folder that a run without a server writes."""
        cls.shared = tempfile.mkdtemp(prefix="quantd-deploy-")
        cls.addClassCleanup(shutil.rmtree, cls.shared)
        cls.work = Work(cls.shared, layers=12, rounds=200)
        cls.expected = without_server(cls.shared, cls.work)

    def fleet(self, count, *extra):
        fleet = Fleet(self, extra=["--threads", "1", *extra])
        for _ in range(count):
            fleet.add()
        return fleet

    def start(self, target, *flags, work=None):
        return self.started(Run(self.folder, work or self.work, "--server", target, *flags))

    def assert_whole(self, run):
        assert_whole(self, run, self.expected)

    def assert_shares(self, replicas, count):
        shares = [done_jobs(replica) / count for replica in replicas]
        self.assertAlmostEqual(sum(shares), 1)
        for share in shares:
            self.assertAlmostEqual(share, 1 / len(replicas), delta=0.1, msg=str(shares))

    def at_work(self, fleet, run):
        """A replica that works, once every one has ended jobs of the run."""
        def found():
            working = [replica for replica in fleet.replicas if busy(replica)]
            return working if all(map(done_jobs, fleet.replicas)) and working else not run.running()
        working = wait_until(found, "every replica to get jobs")
        self.assertTrue(run.running(), run.output())
        return working[0]

    def test_one_run_spreads_over_all(self):
        fleet = self.fleet(3)
        self.assert_whole(self.start(fleet.target, "--jobs", "6"))
        self.assert_shares(fleet.replicas, self.work.count)

    def test_rolling_restart_loses_nothing(self):
        """As a Deployment does it, maxSurge 1 and maxUnavailable 0, while three clients have run after run."""
        fleet = self.fleet(3, "--max-connection-age", str(CONNECTION_AGE))
        load = Load(lambda: self.start(fleet.target, "--jobs", "3"), clients=3)
        wait_until(lambda: all(map(done_jobs, fleet.replicas)), "every replica to get jobs")
        old = list(fleet.replicas)
        for replica in old:
            fleet.add()
            time.sleep(MIN_READY_SECONDS)
            fleet.remove(replica, PRE_STOP_SECONDS)
        fleet.settle()
        for run in load.stop():
            self.assert_whole(run)
        self.assertEqual(fleet.exit_codes, [0] * len(old))
        self.assertEqual([log_line(replica, "stop")["end"] for replica in old], ["idle"] * len(old))
        self.assertGreater(sum(log_line(replica, "drain")["running_jobs"] for replica in old), 0)
        self.assertTrue(all(map(done_jobs, fleet.replicas)))

    def test_what_runs_is_finished_only_because_of_the_drain(self):
        """One layer, one attempt, SIGTERM in the middle: the control for the test above."""
        work = Work(self.shared, layers=1, rounds=1000, hidden=768, only="k_proj")
        for seconds, code, end in ("60", 0, "idle"), ("0", 1, "deadline"):
            with self.subTest(drain_seconds=seconds):
                (replica,) = self.fleet(1, "--drain-seconds", seconds).replicas
                run = self.start(replica.target, "--attempts", "1", work=work)
                wait_until(lambda: busy(replica) or not run.running(), "the layer to run")
                self.assertEqual(replica.stop(), 0)
                self.assertEqual(log_line(replica, "stop")["end"], end)
                self.assertEqual(run.code(), code, run.output())

    def test_scale_up_is_seen_by_a_run_that_goes_on(self):
        fleet = self.fleet(2, "--max-connection-age", str(CONNECTION_AGE))
        run = self.start(fleet.target, "--jobs", "1", work=Work(self.shared, layers=40, rounds=300))
        self.at_work(fleet, run)
        third = fleet.add()
        wait_until(lambda: done_jobs(third) or not run.running(), "the third replica to get a job",
                   1.1 * CONNECTION_AGE + RESOLUTION_SECONDS + SLACK_SECONDS)
        self.assertTrue(run.running(), run.output())

    def test_a_killed_replica_costs_retries_only(self):
        fleet = self.fleet(2)
        run = self.start(fleet.target, "--jobs", "4")
        fleet.kill(self.at_work(fleet, run))
        self.assert_whole(run)
        self.assertIn("UNAVAILABLE", run.retries())

    def test_a_killed_replica_fails_a_run_without_retries(self):
        fleet = self.fleet(2)
        run = self.start(fleet.target, "--jobs", "4", "--attempts", "1")
        fleet.kill(self.at_work(fleet, run))
        self.assertEqual(run.code(), 1, run.output())

    def test_a_frozen_replica_is_given_up(self):
        """SIGSTOP: the connection stays, nothing answers, as behind a broken link. Keepalive finds out."""
        fleet = self.fleet(2)
        run = self.start(fleet.target, "--jobs", "4")
        self.at_work(fleet, run).process.send_signal(signal.SIGSTOP)
        self.assertEqual(run.code(FROZEN_SECONDS), 0, run.output())
        self.assert_whole(run)
        self.assertTrue(run.retries())

    def proxied(self, command, text, port):
        """A run through a proxy: one connection of the client, jobs on both replicas."""
        with open(self.path("proxy.conf"), "w", encoding="utf-8") as file:
            file.write(text)
        proxy = self.started(Child(command, self.path("proxy.log")))
        wait_until(lambda: not proxy.running() or listens(port), "the proxy to listen")
        self.assertTrue(proxy.running(), proxy.output())
        self.assert_whole(self.start(f"127.0.0.1:{port}", "--jobs", "4"))
        proxy.stop()

    def test_haproxy_in_front(self):
        fleet, port = self.fleet(2), free_port()
        servers = "".join(f"  server s{i} {r.target} proto h2 check\n" for i, r in enumerate(fleet.replicas))
        self.proxied([need("haproxy"), "-db", "-f", self.path("proxy.conf")], (
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
            f"frontend quantd\n  bind 127.0.0.1:{port} proto h2\n  default_backend replicas\n"
            f"backend replicas\n  balance roundrobin\n{servers}"), port)
        self.assert_shares(fleet.replicas, self.work.count)

    def test_nginx_in_front(self):
        fleet, port = self.fleet(2), free_port()
        servers = "".join(f"server {r.target}; " for r in fleet.replicas)
        self.proxied([need("nginx"), "-p", self.folder, "-e", self.path("nginx.log"), "-c", self.path("proxy.conf")], (
            f"daemon off;\nworker_processes 1;\npid {self.path('nginx.pid')};\nevents {{}}\n"
            f"http {{\n  access_log off;\n  client_body_temp_path {self.folder};\n  client_max_body_size 0;\n"
            f"  upstream replicas {{ {servers}}}\n"
            f"  server {{\n    listen 127.0.0.1:{port} http2;\n    location / {{\n      grpc_pass grpc://replicas;\n"
            "      grpc_read_timeout 1h;\n      grpc_send_timeout 1h;\n      client_body_timeout 1h;\n    }\n  }\n}\n"), port)
        self.assert_shares(fleet.replicas, self.work.count)


if __name__ == "__main__":
    unittest.main()
